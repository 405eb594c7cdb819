"""`loadbalancer: yes`: gives a job to the server that would finish it first, and takes it back if that fails.

`choice` decides (pure), `neighbourhood` knows the peers, `carrying` sees one job through, `balancer` does it
all again and again; `receiving` is the other end.
"""
