"""What a constraint is, and all that is done with constraints."""
