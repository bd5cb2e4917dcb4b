"""Energy models: energies, forces and stresses from features, and how far to trust them."""
