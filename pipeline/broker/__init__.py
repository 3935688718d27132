"""The broker process, and how the controller talks to it."""
