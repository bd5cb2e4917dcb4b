"""Representations: from structures to features and their derivatives."""
