"""Model cards and the weights that ship: what each model is, what it saw, what it can and cannot do."""
