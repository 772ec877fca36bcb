"""The job builder: pages to compose, check, run and watch chains; like commands/, an interface without logic."""
