"""Models that compute only what they use, or what a budget of time allows."""
