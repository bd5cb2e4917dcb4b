"""Input: structures, directions and boxes, checked once and turned into plain arrays."""
