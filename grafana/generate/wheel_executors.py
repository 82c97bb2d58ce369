"""Wheel and executors: what is pending, what is handed out and comes back, who does the work, what callers see."""

from panels import NODES, bars, dashboard, graph, number, quantiles, query, row

WHEEL = [
    row("Wheel"),
    graph(
        "Pending, by partition",
        "short",
        """Triggers that wait for their due time. Normally partitions are alike, since ids are spread by hash. One far above the others: many ids
        share one {tag}.""",
        query(f"max by (partition) (bosingak_triggers_pending{{{NODES}}})", "partition {{partition}}"),
        stack=True,
    ),
    bars(
        "Due in the hours to come",
        "short",
        """Triggers pending by the hour from now in which they fall due. Normal is your business's day. Metrics have no topic label; `bosingak
        forecast --topic TOPIC --step 1m` shows one topic, minute by minute.""",
        # Two digits, so that the order of the texts is the order of the hours.
        f"""label_replace(sum by (hours_ahead) (bosingak_forecast_triggers{{{NODES}}}), "hours_ahead", "0$1", "hours_ahead", "([0-9])")""",
        "hours_ahead",
    ),
    graph(
        "Log entries",
        "ops",
        """Entries that hold commands, and bare ones that only move time because something is due. Normal when idle is none of the first and as many
        of the second as there are moments at which something is due.""",
        [
            query(f"sum(rate(bosingak_entries_total{{{NODES}}}[$__rate_interval]))", "with commands"),
            query(f"sum(rate(bosingak_bare_entries_total{{{NODES}}}[$__rate_interval]))", "bare"),
        ],
    ),
    graph(
        "Commands",
        "ops",
        """Put into the log by the leaders of a node: schedule, cancel, reschedule, outcomes. Normal is your load, spread over the nodes as leaders
        are.""",
        query(f"sum by (node) (rate(bosingak_commands_total{{{NODES}}}[$__rate_interval]))", "node {{node}}"),
        stack=True,
    ),
    graph(
        "Counting a slot of the wheel",
        "s",
        """Time to count the rows of a coarse slot before it is refined. Normal is below 100 ms; more with millions of triggers in one hour. It
        runs beside everything else and delays nothing.""",
        quantiles("bosingak_wheel_recount_seconds", "", [], ""),
    ),
    number(
        "Counts that were wrong",
        "short",
        """Recounts within the time shown that found another number than the wheel had. Normal is 0; anything else is a bug worth reporting, see
        BosingakWheelDrift.""",
        f"sum(increase(bosingak_wheel_drift_total{{{NODES}}}[$__range]))",
        width=8,
        height=8,
        red_from=1,
    ),
]

DELIVERY = [
    row("Delivery"),
    graph(
        "Handed out",
        "ops",
        """Deliveries, and of these second and later attempts. Normally the second line is near 0. High: executors fail, die, or take longer than
        their lease.""",
        [
            query(f"sum(rate(bosingak_deliveries_total{{{NODES}}}[$__rate_interval]))", "deliveries"),
            query(f"sum(rate(bosingak_redeliveries_total{{{NODES}}}[$__rate_interval]))", "of these again"),
        ],
    ),
    graph(
        "Outcomes, by verdict",
        "ops",
        """What the log said to what executors reported. Normal is accepted. already_decided: reported twice. superseded: a lease ran out and another
        attempt counts. not_found: cancelled or past its retention. refused: a bug of the executor.""",
        query(f"sum by (verdict) (rate(bosingak_outcomes_total{{{NODES}}}[$__rate_interval]))", "{{verdict}}"),
        stack=True,
    ),
    graph(
        "Leases that ran out",
        "ops",
        """Deliveries not completed within their lease, and delivered again. Normal is none, and one hump when an executor dies. One in twenty
        fires BosingakLeaseExpiryStorm.""",
        query(f"sum by (node) (rate(bosingak_lease_expired_total{{{NODES}}}[$__rate_interval]))", "node {{node}}"),
        stack=True,
    ),
    graph(
        "Lateness, first attempts",
        "s",
        """99th percentile after the due time, until handed out and until the completion was durable, by the node that led. Normal is below 20 ms when
        idle, without the executors' own time. One node apart from the others: its disk or processor.""",
        [
            *quantiles("bosingak_trigger_lateness_seconds", 'stage="dispatched"', ["node"], "handed out, node {{node}}", of=(0.99,)),
            *quantiles("bosingak_trigger_lateness_seconds", 'stage="acked"', ["node"], "completed, node {{node}}", of=(0.99,)),
        ],
    ),
    graph(
        "Waiting to be handed out, by cause",
        "short",
        """Triggers that fired and no executor has yet, as far as dispatchers have read. Normal is none but for bursts. `bosingak topic list` shows
        which topics are paused or limited, `bosingak executor list` who is connected for what.""",
        query(f"sum by (cause) (bosingak_waiting_triggers{{{NODES}}})", "{{cause}}"),
        stack=True,
    ),
    graph(
        "Overdue, by partition",
        "short",
        """Fired and not ended: waiting or in hand. Normal is what is under way. One partition high: `bosingak cluster status`, then its leader.""",
        query(f"sum by (partition) (bosingak_overdue_triggers{{{NODES}}})", "partition {{partition}}"),
        stack=True,
    ),
]

EXECUTORS = [
    row("Executors"),
    graph(
        "Sessions, by partition",
        "short",
        """Executors connected to the leader of a partition. Normally every partition has every executor. Fewer in one: executors cannot reach its
        leader's node.""",
        query(f"sum by (partition) (bosingak_executor_connected{{{NODES}}})", "partition {{partition}}"),
        width=6,
    ),
    graph(
        "Slots",
        "short",
        """Deliveries that connected executors can hold at once, and hold. Normal is in use well below capacity. Equal for long: more executors, or
        a higher concurrency.""",
        [
            query(f"sum(bosingak_executor_capacity{{{NODES}}})", "capacity"),
            query(f"sum(bosingak_executor_in_flight{{{NODES}}})", "in use"),
        ],
        width=6,
    ),
    graph(
        "In hand, by partition",
        "short",
        """Deliveries under lease. Normal is the load times the time the work takes.""",
        query(f"sum by (partition) (bosingak_executor_in_flight{{{NODES}}})", "partition {{partition}}"),
        width=6,
        stack=True,
    ),
    graph(
        "Dead letters",
        "short",
        """Triggers that were given up and lie there. Normal is a flat line. Growing: `bosingak dead-letter list` shows their last errors; see
        BosingakDeadLettersGrowing.""",
        query(f"sum by (node) (bosingak_dead_letters{{{NODES}}})", "node {{node}}"),
        width=6,
        stack=True,
    ),
]

CALLS = [
    row("Calls"),
    graph(
        "Calls, by method",
        "reqps",
        """Unary calls answered; items on streams are not counted here but as commands. Normal is your load.""",
        query(f"sum by (method) (rate(bosingak_calls_total{{{NODES}}}[$__rate_interval]))", "{{method}}"),
        width=6,
        stack=True,
    ),
    graph(
        "Calls that failed",
        "reqps",
        """By method and code, without OK. Normal is what clients do wrong. UNAVAILABLE, RESOURCE_EXHAUSTED and DEADLINE_EXCEEDED are the server's
        doing, INTERNAL is a bug.""",
        query(
            f"""sum by (method, code) (rate(bosingak_calls_total{{{NODES}, code!="OK"}}[$__rate_interval]))""",
            "{{method}} {{code}}",
        ),
        width=6,
        stack=True,
    ),
    graph(
        "Time to answer, by method",
        "s",
        """99th percentile. Poll waits for work on purpose. Normal is a few milliseconds for reads and writes.""",
        quantiles("bosingak_call_seconds", "", ["method"], "{{method}}", of=(0.99,)),
        width=6,
    ),
    graph(
        "Passed on, refused, given up",
        "ops",
        """Calls passed on to the leader's node: normal, and fewer when clients follow leader hints. Refused because a queue was full: overload, see
        BosingakOverloaded. Given up: the caller's deadline passed while it waited.""",
        [
            query(f"sum(rate(bosingak_calls_forwarded_total{{{NODES}}}[$__rate_interval]))", "passed on"),
            query(f"sum(rate(bosingak_overloaded_total{{{NODES}}}[$__rate_interval]))", "refused"),
            query(f"sum(rate(bosingak_given_up_total{{{NODES}}}[$__rate_interval]))", "given up"),
        ],
        width=6,
    ),
]

DASHBOARD = dashboard(
    "bosingak-wheel-executors",
    "What is pending, what is handed out and comes back, who does the work, what callers see.",
    WHEEL + DELIVERY + EXECUTORS + CALLS,
)
