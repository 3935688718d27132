"""The spine: run file, plan, Beam stages, controller, releaser, command line."""
