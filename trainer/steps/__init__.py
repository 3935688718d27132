"""A training step: sample, learn, and what is kept between steps."""
