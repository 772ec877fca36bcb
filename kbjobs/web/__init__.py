"""The job builder: a page to compose, check, run and watch chains; a face like commands/, which decides nothing."""
