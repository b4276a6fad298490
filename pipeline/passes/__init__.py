"""Score passes over a run: what they are, where their scores lie, how they are carried out and checked."""
