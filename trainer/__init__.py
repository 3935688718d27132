"""Reinforcement fine-tuning: rollouts, rewards, advantages, losses, the loop, checkpoints."""
