"""What all parts share that is not about structures; the one place that touches what is not ours."""
