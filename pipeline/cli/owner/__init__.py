"""Commands of the data's owner: sealed inputs for runs."""
