"""From rows to scored completions: prompts, conversations with an environment, scores.

``rollout`` says what an engine is and what it returns; ``evaluators`` what scores completions.
"""
