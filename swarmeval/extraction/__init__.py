"""From a model's reply to the candidate: the code to be judged. Also the extraction rules of other harnesses."""
