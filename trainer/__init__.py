"""Reinforcement fine-tuning of a low-rank adapter; here is a step, from rows to a checkpoint.

``trainer.loop`` runs these lines from top to bottom. Suffixes are shapes: P prompts with G
completions each, B = P * G completions of up to T tokens; in one pass through the model N groups as
rows of S positions, whose completions have K tokens, U of them distinct; D is the model's width.

======================  ========================================  ==================================
value                   where                                     what happens
======================  ========================================  ==================================
indices, P of them      ``steps.schedule.row_indices``            the next rows of the shuffled deck
prompts, P of them      ``rollouts.prompts.encode_prompt``        the chat template's token ids
tokens_BT, logprobs_BT  ``engines.<engine>.generate``             completions are sampled
given_BT                ``rollouts.conversations``                an environment answers, if any
rewards_PG              ``rollouts.scoring.score_rollouts``       the evaluator scores them
advantages_PG           ``losses.<method>.advantages``            each against its group
ids_NS, visible_NSL     ``steps.batch.pack_groups``               a group becomes a tree of tokens
hidden_UD               ``steps.logprobs.predicting_states``      one pass through the decoder
logprobs_K, entropy_K   ``steps.logprobs.completion_logprobs``    the head, 256 tokens at a time
a scalar                ``losses.<method>.loss``                  the paper's objective, negated
``policy.flat_grad``    ``steps.learning.Learner``                backward, summed over the passes
``policy.flat``         ``steps.optimizer.AdamW.step``            the adapter is updated
numbers by name         ``steps.metrics``                         what the step reports
two blobs of bytes      ``checkpoints.checkpoint.save``           every ``checkpoint_every`` steps
======================  ========================================  ==================================

Rows 1 to 6 are ``steps.sampling.StepSampler``, and may be repeated for further rows (DAPO's dynamic
sampling). Rows 7 to 12 are ``steps.learning.Learner``, and are repeated for each of
``updates_per_step``. Nothing here opens a file or a socket.
"""
