"""A window model compiled to a stream: `compiler.compile_stream`."""
