"""What all parts share that is not about structures, and what touches code that is not ours."""
