"""What a model costs before it is run: floating-point operations, bytes moved and memory, counted on ghosts."""
