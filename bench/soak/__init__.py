"""A real server under a steady load for a long time: does anything leak, and is every request accounted for?"""
