"""The networks that come with the package: found, and scored before they are published."""
