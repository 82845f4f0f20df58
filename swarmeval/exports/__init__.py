"""Files in the formats of other tools, made from the folders of finished runs. Measures nothing and judges nothing."""
