"""Sentiment of customer feedback as JSON: the main job."""
