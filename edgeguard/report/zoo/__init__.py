"""The networks that come with the package, from recipe to model card."""
