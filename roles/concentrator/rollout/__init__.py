"""What the rollout's action plugins share: a script on the Pi in one round trip, and the proof from
outside.
"""
