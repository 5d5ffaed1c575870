"""Off-policy evaluation: what a policy is worth by recorded episodes alone, and which checkpoint to take.

It is a folder of the room `training`, and no room of its own: it opens runs and their data as training does,
the loop asks it for early stopping, and the report and the commands, which stand below, read what it finds.

    values         by fitted Q evaluation at o_0 (fqe, start_values, windows), and the agent's own Q there
    importance     by weighted importance sampling (behaviour: density of the data), given a likelihood
    doubly_robust  by both together
    losses         by the agent's own TD error and cloning loss, of held-out episodes where there are any
    score          by evaluations in the environment
    select         ranks what runs keep by one of these

Every criterion gives samples, not a point: `estimate` makes intervals of them and of differences.  Policies
are taken as they act, `agent.act` without exploration: what an evaluation scores and what is exported.
Importance sampling alone takes the distribution around it, since only that has a density.
"""
