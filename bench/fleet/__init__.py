"""How long a fleet's configuration takes to redeploy: ours, pyinfra's, and a loop of `ssh PI true`."""
