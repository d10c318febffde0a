"""What is written down, and its forms: the records of the internal topics, and the tables that the journal folds to."""
