"""What the action plugins of a rollout share: scripts on the Pi, claims, and the proof from outside."""
