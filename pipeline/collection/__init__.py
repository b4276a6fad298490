"""What is segmented: annotations, where each image's bytes are, and their pixels."""
