"""Overview: is everything on time, is the cluster whole, what comes next, what is wrong."""

from panels import CLUSTER, NODES, bars, dashboard, graph, number, quantiles, query, row

LATENESS = "bosingak_trigger_lateness_seconds"
ON_TIME = 'le=~"1|1[.]0"'

PUNCTUALITY = [
    row("Punctuality"),
    number(
        "Handed out within 1 s",
        "percentunit",
        """Share of triggers handed to an executor within one second of their due time, first attempts, over the time shown. Normal is
        99.9 % or more, which is the objective over 30 days. Below: look at "Late, by cause", then at the runbook of BosingakLatenessBurn.""",
        f"""sum(rate({LATENESS}_bucket{{{NODES}, stage="dispatched", {ON_TIME}}}[$__range]))
        / sum(rate({LATENESS}_count{{{NODES}, stage="dispatched"}}[$__range]))""",
        width=5,
        green_from=0.999,
        decimals=2,
    ),
    number(
        "Completed at the first attempt",
        "percentunit",
        """Completions of first attempts for each first attempt handed out, over the time shown. Normal is what the executors' own error
        rate is, mostly above 99 %. Lower: they fail, or die with work in hand; see Wheel and executors.""",
        f"""clamp_max(sum(rate({LATENESS}_count{{{NODES}, stage="acked"}}[$__range]))
        / sum(rate({LATENESS}_count{{{NODES}, stage="dispatched"}}[$__range])), 1)""",
        width=5,
        green_from=0.99,
        decimals=2,
    ),
    number(
        "Overdue",
        "short",
        """Triggers that fired and have not ended, as far as dispatchers have read: those that wait and those executors work on. Normal is
        what is under way, and a hump after a burst. Growing: compare with the executors' slots below.""",
        f"sum(bosingak_overdue_triggers{{{NODES}}})",
    ),
    number(
        "Oldest overdue",
        "s",
        """By how much the oldest of them is late. Normal is below a second, or as long as executors take. Above a minute with work waiting
        BosingakOldestOverdue fires.""",
        f"max(bosingak_oldest_overdue_seconds{{{NODES}}})",
        width=5,
        red_from=60,
    ),
    number(
        "Oldest canary",
        "s",
        """The worst partition's age of the newest canary that completed: a trigger the cluster makes for itself every ten seconds. Normal
        is below 20 s. Above a minute BosingakCanaryStale fires: what happens to canaries happens to triggers.""",
        f"max(bosingak_canary_age_seconds{{{NODES}}} and on (cluster, node, partition) bosingak_raft_is_leader{{{NODES}}} == 1)",
        width=5,
        red_from=60,
    ),
    graph(
        "Lateness when handed out",
        "s",
        """How long after its due time a trigger was handed to an executor, first attempts. Normal when idle is a p99 below 20 ms; in
        a burst it is the time the burst takes. Higher without a burst: sync time and leader changes on Raft and storage, then executors' slots.""",
        quantiles(LATENESS, 'stage="dispatched"', [], "", of=(0.5, 0.99, 0.999)),
        red_from=1,
    ),
    graph(
        "Lateness when completed",
        "s",
        """The same until the completion was durable, so with the executors' own time. Normal is the line on the left plus what the work takes.
        Only this one high: executors are slow.""",
        quantiles(LATENESS, 'stage="acked"', [], "", of=(0.5, 0.99, 0.999)),
    ),
    graph(
        "Late, by cause",
        "ops",
        """Triggers that were more than a second late, by what they waited for. Normal is none. no_leader: an election. consensus: slow disks or
        network. dispatch_queue: the leader is busy. rate_limit: as the topic asks. no_credit: too few executors. executor: its own time.""",
        query(f"sum by (cause) (rate(bosingak_late_triggers_total{{{NODES}}}[$__rate_interval]))", "{{cause}}"),
        stack=True,
    ),
]

QUORUM = [
    row("Quorum"),
    number(
        "Nodes up",
        "short",
        """Nodes that answered the last scrape. Normal is all of them. A majority must be up for every partition; see BosingakMembersDown.""",
        f'sum(up{{job="bosingak", {CLUSTER}}})',
    ),
    number(
        "Partitions without leader",
        "short",
        """Partitions that no node leads. Normal is 0, and for a second after a node died. Their triggers wait; see BosingakNoLeader.""",
        f"sum(max by (partition) (bosingak_raft_is_leader{{{CLUSTER}}}) == bool 0)",
        red_from=1,
    ),
    number(
        "Replicas halted",
        "short",
        """Replicas that stopped because they met something they do not understand. Normal is 0; see BosingakGroupHalted.""",
        f"sum(bosingak_raft_halted{{{CLUSTER}}})",
        red_from=1,
    ),
    number(
        "Partitions with time held",
        "short",
        """Partitions whose leader's clock jumped and that wait for a majority of clocks to agree. Normal is 0; see BosingakClockHeld.""",
        f"sum(max by (partition) (bosingak_clock_held{{{CLUSTER}}}))",
        red_from=1,
    ),
    number(
        "Least disk free",
        "bytes",
        """Free bytes on the disk of the node that has least. Normal is gigabytes. Below 512 MiB (storage.free_space_min) writes are refused with
        DISK_LOW; BosingakDiskFillsIn4h fires four hours before.""",
        f"min(bosingak_disk_free_bytes{{{CLUSTER}}})",
        green_from=2 * 1024**3,
        decimals=1,
    ),
    number(
        "Alerts firing",
        "short",
        """How many of our alerts fire now. Normal is 0. Each has a page in docs/runbooks. Also 0 where the rules of grafana/rules are not loaded.""",
        # No alert is no series.
        'sum(ALERTS{alertname=~"Bosingak.*", alertstate="firing", cluster=~"$cluster|"}) or vector(0)',
        red_from=1,
    ),
]

THROUGHPUT = [
    row("Throughput"),
    graph(
        "Commands, hand-outs, completions",
        "ops",
        """Commands put into the log (schedule, cancel, reschedule, outcomes), first attempts handed out, and outcomes accepted. Normally the last
        two are equal but for work under way. Completions below hand-outs for long: executors do not keep up.""",
        [
            query(f"sum(rate(bosingak_commands_total{{{NODES}}}[$__rate_interval]))", "commands"),
            query(
                f"""sum(rate(bosingak_deliveries_total{{{NODES}}}[$__rate_interval]))
                - sum(rate(bosingak_redeliveries_total{{{NODES}}}[$__rate_interval]))""",
                "handed out",
            ),
            query(f'sum(rate(bosingak_outcomes_total{{{NODES}, verdict="accepted"}}[$__rate_interval]))', "completed"),
        ],
        width=6,
    ),
    graph(
        "Pending",
        "short",
        """Triggers that wait for their due time, in the whole cluster. Normal is your business's. Falling to nothing: whoever schedules has
        stopped.""",
        # Every replica counts the whole partition, so one of them is the partition.
        query(f"sum(max by (partition) (bosingak_triggers_pending{{{NODES}}}))", "pending"),
        width=6,
    ),
    graph(
        "Answers, by code",
        "reqps",
        """Unary calls answered. Normal is OK and what clients do wrong (NOT_FOUND, ALREADY_EXISTS). UNAVAILABLE: no leader, or one that moves.
        RESOURCE_EXHAUSTED: overload or a full disk. INTERNAL is a bug.""",
        query(f"sum by (code) (rate(bosingak_calls_total{{{NODES}}}[$__rate_interval]))", "{{code}}"),
        width=6,
        stack=True,
    ),
    graph(
        "Time to answer",
        "s",
        """Of unary calls, long polls among them, which wait for work on purpose. Normal without polls is a few milliseconds. Slow: sync time on
        Raft and storage; then by method on Wheel and executors.""",
        quantiles("bosingak_call_seconds", 'method!~".*[Pp]oll.*"', [], ""),
        width=6,
    ),
]

AHEAD = [
    row("The next hours"),
    bars(
        "Due in the hours to come",
        "short",
        """Triggers pending by the hour from now in which they fall due: exact, because the wheel counts them. Normal is your business's day.
        Compare the highest bar with what executors did in an hour before; `bosingak forecast --topic TOPIC` tells which topic it is.""",
        # Two digits, so that the order of the texts is the order of the hours.
        f"""label_replace(sum by (hours_ahead) (bosingak_forecast_triggers{{{NODES}}}), "hours_ahead", "0$1", "hours_ahead", "([0-9])")""",
        "hours_ahead",
        width=12,
    ),
    graph(
        "Executors' slots",
        "short",
        """Deliveries that connected executors can hold at once, and hold. Normal is in use well below capacity. At capacity triggers wait
        (no_credit): start more executors or raise their concurrency.""",
        [
            query(f"sum(bosingak_executor_capacity{{{NODES}}})", "capacity"),
            query(f"sum(bosingak_executor_in_flight{{{NODES}}})", "in use"),
        ],
        width=6,
    ),
    number(
        "Slots the next hour needs",
        "percentunit",
        """Triggers due within the next hour, spread evenly, times the time a delivery is held now, over the slots there are. Normal is below 50 %.
        A burst needs more, since it is not spread: this is the least. Above 80 % start more executors.""",
        f"""sum(bosingak_forecast_triggers{{{NODES}, hours_ahead="0"}}) / 3600
        * sum(avg_over_time(bosingak_executor_in_flight{{{NODES}}}[$__range]))
        / sum(rate(bosingak_outcomes_total{{{NODES}, verdict="accepted"}}[$__range]))
        / sum(bosingak_executor_capacity{{{NODES}}})""",
        width=6,
        height=8,
        red_from=0.8,
        decimals=1,
    ),
]

PROBLEMS = [
    row("Top problems"),
    graph(
        "Age of the newest canary, by partition",
        "s",
        """One partition high: its leader or its executors. All high: the cluster. Normal is a saw between 0 and 10 s; see BosingakCanaryStale.""",
        query(
            f"""max by (partition) (bosingak_canary_age_seconds{{{NODES}}}
            and on (cluster, node, partition) bosingak_raft_is_leader{{{NODES}}} == 1)""",
            "partition {{partition}}",
        ),
        width=6,
        red_from=60,
    ),
    graph(
        "Waiting to be handed out, by cause",
        "short",
        """Triggers that fired and no executor has yet. Normal is none but for bursts. no_executor: nobody asks for the topic. no_credit: executors
        are busy. paused, rate_limit, concurrency: as the topic asks. undecided: the log is slow.""",
        query(f"sum by (cause) (bosingak_waiting_triggers{{{NODES}}})", "{{cause}}"),
        width=6,
        stack=True,
    ),
    graph(
        "Refused",
        "ops",
        """Commands refused because a queue was full, and proposals refused or of unknown outcome. Normal is none; a few when a leader moves. See
        BosingakOverloaded and BosingakProposalsFailing.""",
        [
            query(f"sum by (node) (rate(bosingak_overloaded_total{{{NODES}}}[$__rate_interval]))", "overloaded, node {{node}}"),
            query(
                f"""sum by (node) (rate(bosingak_raft_proposals_total{{{NODES}, outcome=~"refused|unknown"}}[$__rate_interval]))""",
                "proposals, node {{node}}",
            ),
        ],
        width=6,
    ),
    graph(
        "Dead letters",
        "short",
        """Triggers that were given up and lie there, in partitions a node leads. Normal is a flat line. Growing: `bosingak dead-letter list`; see
        BosingakDeadLettersGrowing.""",
        query(f"sum by (node) (bosingak_dead_letters{{{NODES}}})", "node {{node}}"),
        width=6,
        stack=True,
    ),
]

DASHBOARD = dashboard(
    "bosingak-overview",
    "Are triggers on time, is the cluster whole, what falls due next, and what is wrong.",
    PUNCTUALITY + QUORUM + THROUGHPUT + AHEAD + PROBLEMS,
)
