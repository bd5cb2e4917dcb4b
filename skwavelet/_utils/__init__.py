"""What rooms share that is not about structures: the one place that touches what is not ours."""
