"""Raft and storage: leaders, proposals, the log, peers, state and snapshots, RocksDB, the process."""

from panels import NODES, dashboard, graph, quantiles, query, row, signed_graph

LED = f"bosingak_raft_is_leader{{{NODES}}}"

LEADERS = [
    row("Leaders"),
    graph(
        "Partitions led, by node",
        "short",
        """Normal is an even share each, and none on a node that is drained. All on one node: the others are slow or were restarted; leadership
        evens out by itself within a minute.""",
        query(f"sum by (node) ({LED})", "node {{node}}"),
        width=6,
        stack=True,
    ),
    graph(
        "Term, by partition",
        "short",
        """A step is an election. Normal is flat, with a step when a node stops, dies or hands over. Four steps in 15 minutes fire
        BosingakLeaderChanges.""",
        query(f"max by (partition) (bosingak_raft_term{{{NODES}}})", "partition {{partition}}"),
        width=6,
    ),
    graph(
        "Changes of leader seen, by node",
        "short",
        """How often a node saw the leader of some partition change or go. Normal is none. More on one node than on others: its network or
        processor.""",
        query(f"sum by (node) (increase(bosingak_raft_leader_changes_total{{{NODES}}}[$__rate_interval]))", "node {{node}}"),
        width=6,
    ),
    graph(
        "Handed over, rebuilt, halted",
        "short",
        """Leaderships handed over by outcome, replicas opened again because their core died, and replicas halted now. Normal is a few done when
        nodes are drained or evened out; rebuilt is a bug worth reporting; halted is BosingakGroupHalted.""",
        [
            query(
                f"sum by (outcome) (increase(bosingak_raft_leader_transfers_total{{{NODES}}}[$__rate_interval]))",
                "handed over, {{outcome}}",
            ),
            query(f"sum(increase(bosingak_raft_group_rebuilds_total{{{NODES}}}[$__rate_interval]))", "rebuilt"),
            query(f"sum(bosingak_raft_halted{{{NODES}}})", "halted"),
        ],
        width=6,
    ),
]

PROPOSALS = [
    row("Proposals"),
    graph(
        "Entries proposed and not committed",
        "short",
        """Of the partitions a node leads. Normal is 0 to a few; proposer.outstanding_max bounds it per partition. Standing high: no majority, or
        slow disks.""",
        query(
            f"""sum by (node) ((bosingak_raft_last_index{{{NODES}}} - bosingak_raft_committed_index{{{NODES}}}) * {LED})""",
            "node {{node}}",
        ),
        width=6,
    ),
    graph(
        "Proposals, by outcome",
        "ops",
        """Entries that were applied, refused (this node no longer led), or whose outcome is unknown (leadership was lost under way; clients ask
        again with the same id). Normal is applied only; see BosingakProposalsFailing.""",
        query(f"sum by (outcome) (rate(bosingak_raft_proposals_total{{{NODES}}}[$__rate_interval]))", "{{outcome}}"),
        width=6,
        stack=True,
    ),
    graph(
        "Commit: from proposal until applied",
        "s",
        """A sync on a majority of disks, a round trip and applying. Normal is 1 to 10 ms. Compare with sync and round trip below: the larger one is
        the reason.""",
        quantiles("bosingak_raft_proposal_seconds", 'result="applied"', ["node"], "node {{node}}"),
        width=6,
    ),
    graph(
        "Commands in an entry",
        "short",
        """Normal is few when calm and hundreds under load: while one entry is under way the next one fills. Few under load: callers are too few
        or too slow to fill entries.""",
        query(
            f"""sum by (node) (rate(bosingak_commands_total{{{NODES}}}[$__rate_interval]))
            / sum by (node) (rate(bosingak_entries_total{{{NODES}}}[$__rate_interval]))""",
            "node {{node}}",
        ),
        width=6,
    ),
    graph(
        "Bytes proposed",
        "Bps",
        """Size of the entries proposed. Normal is some 300 bytes for each trigger, and next to nothing when idle.""",
        query(f"sum by (node) (rate(bosingak_entry_bytes_total{{{NODES}}}[$__rate_interval]))", "node {{node}}"),
        width=8,
    ),
    graph(
        "Read barriers",
        "ops",
        """Rounds to a majority before linearizable reads; many readers share one. Failed: the node could not reach a majority. Normal is none
        failed.""",
        query(f"sum by (outcome) (rate(bosingak_raft_read_barriers_total{{{NODES}}}[$__rate_interval]))", "{{outcome}}"),
        width=8,
        stack=True,
    ),
    graph(
        "Entries applied",
        "ops",
        """By every replica, so each entry counts once per node. Normally all nodes are equal; one that is lower is catching up.""",
        query(f"sum by (node) (rate(bosingak_raft_applied_entries_total{{{NODES}}}[$__rate_interval]))", "node {{node}}"),
        width=8,
    ),
]

LOG = [
    row("Log"),
    graph(
        "Sync of the log",
        "s",
        """Every acknowledgement waits for a majority of these. Normal is below 10 ms on an SSD with power-loss protection below 1 ms. p99 above
        0.5 s fires BosingakSyncSlow: look for another writer on the same disk.""",
        quantiles("bosingak_log_sync_seconds", "", ["node"], "node {{node}}"),
        red_from=0.5,
    ),
    graph(
        "Written to the log",
        "Bps",
        """Bytes written, and of these bytes copied out of old segments to free them. Normally copied is a small part of the whole. Mostly copied:
        a partition that is seldom written holds segments back.""",
        [
            query(f"sum by (node) (rate(bosingak_log_bytes_total{{{NODES}}}[$__rate_interval]))", "written, node {{node}}"),
            query(f"sum by (node) (rate(bosingak_log_rewritten_bytes_total{{{NODES}}}[$__rate_interval]))", "copied, node {{node}}"),
        ],
    ),
    graph(
        "Requests answered by one write",
        "short",
        """How many requests of all partitions share one write and sync. Normal is 1 when calm and more under load.""",
        quantiles("bosingak_log_batch_requests", "", ["node"], "node {{node}}"),
    ),
    graph(
        "Bytes in one write",
        "bytes",
        """Normal is a few hundred bytes when calm and up to megabytes under load.""",
        quantiles("bosingak_log_batch_bytes", "", ["node"], "node {{node}}"),
        width=6,
    ),
    graph(
        "Segments of the log",
        "short",
        """Files the log consists of. Normal is a few, and more while a follower is away or a burst is not checkpointed. Growing for hours: purge
        does not advance; see entries kept.""",
        query(f"sum by (node) (bosingak_log_segments{{{NODES}}})", "node {{node}}"),
        width=6,
    ),
    graph(
        "Entries kept in the log",
        "short",
        """From the last purged entry to the last one, the partition that keeps most. Normal is a saw: it falls after each checkpoint.""",
        query(
            f"max by (node) (bosingak_raft_last_index{{{NODES}}} - bosingak_raft_purged_index{{{NODES}}})",
            "node {{node}}",
        ),
        width=6,
    ),
    graph(
        "Entries in memory",
        "bytes",
        """Log entries kept for followers and appliers. Normal is below its bound of some tens of megabytes.""",
        query(f"sum by (node) (bosingak_log_cache_bytes{{{NODES}}})", "node {{node}}"),
        width=6,
    ),
]

PEERS = [
    row("Peers"),
    graph(
        "Round trip",
        "s",
        """99th percentile of a question to another node. Normal is the network's, below a few milliseconds in one place. Above 150 ms
        BosingakPeerSlow fires. Answers above 400 ms are given up and not counted.""",
        query(
            f"""histogram_quantile(0.99, sum by (node, peer, le) (rate(bosingak_raft_peer_rtt_seconds_bucket{{{NODES}}}[$__rate_interval])))""",
            "{{node}} to {{peer}}",
        ),
        red_from=0.15,
    ),
    graph(
        "Entries followers lack",
        "short",
        """As their leaders see it, sum over partitions. Normal is 0 to a few. Above 1,000 in a partition BosingakFollowerLagging fires: the
        follower is down, slow, or fetches a snapshot.""",
        query(
            f"""sum by (peer) (bosingak_raft_follower_lag_entries{{{NODES}}}
            and on (cluster, node, partition) {LED} == 1)""",
            "node {{peer}}",
        ),
    ),
    signed_graph(
        "How far other clocks are ahead",
        "s",
        """Normal is within a few milliseconds with NTP. Above 250 ms BosingakClockSkew fires; at 500 ms clocks do not agree, and a jump of time is
        held.""",
        query(f"max by (node, peer) (bosingak_clock_offset_seconds{{{NODES}}})", "{{peer}} against {{node}}"),
    ),
]

STATE = [
    row("State and snapshots"),
    graph(
        "Applying one batch",
        "s",
        """With its write to RocksDB. Normal is below 20 ms. Slow: write stalls below, or a processor that is too busy.""",
        quantiles("bosingak_raft_apply_seconds", "", ["node"], "node {{node}}"),
        width=6,
    ),
    graph(
        "Of which the state machine",
        "s",
        """The same without the write. Normal is below 10 ms, and most of it under load. Slow on all nodes: entries hold very many commands.""",
        quantiles("bosingak_apply_seconds", "", ["node"], "node {{node}}"),
        width=6,
    ),
    graph(
        "Committed and not applied",
        "short",
        """Entries of all partitions. Normal is 0 to a few. Growing on one node: it cannot keep up.""",
        query(
            f"sum by (node) (clamp_min(bosingak_raft_committed_index{{{NODES}}} - bosingak_raft_applied_index{{{NODES}}}, 0))",
            "node {{node}}",
        ),
        width=6,
    ),
    graph(
        "Entries since the checkpoint",
        "short",
        """What a restart applies again, of the partition that has most. Normal is a saw. Only growing: checkpoints fail; see the log of the node.""",
        query(
            f"max by (node) (clamp_min(bosingak_raft_applied_index{{{NODES}}} - bosingak_raft_checkpoint_index{{{NODES}}}, 0))",
            "node {{node}}",
        ),
        width=6,
    ),
    graph(
        "Age of the newest checkpoint",
        "s",
        """Of the partition whose checkpoint is oldest. Normal is five minutes at most under load; one is made when there is
        something to put into it, so an idle partition's may be older. Old and many entries since: checkpoints fail.""",
        query(f"max by (node) (bosingak_raft_snapshot_age_seconds{{{NODES}}})", "node {{node}}"),
    ),
    graph(
        "Snapshots of other nodes",
        "short",
        """Snapshots sent, installed and failed. Normal is none; one for each partition of a node that is new or was away long. Failed again and
        again: see the log of the sender.""",
        query(f"sum by (event) (increase(bosingak_raft_snapshots_total{{{NODES}}}[$__rate_interval]))", "{{event}}"),
    ),
    graph(
        "Bytes of snapshots sent",
        "Bps",
        """Normal is none, or the speed of the network while a node catches up.""",
        query(f"sum by (node) (rate(bosingak_raft_snapshot_bytes_total{{{NODES}}}[$__rate_interval]))", "node {{node}}"),
    ),
]

ROCKSDB = [
    row("RocksDB and the disk"),
    graph(
        "Written and not yet in files",
        "bytes",
        """Normal is a saw below storage.write_buffer (128 MiB by default). At the bound writes wait.""",
        query(f"sum by (node) (bosingak_raft_store_write_buffer_bytes{{{NODES}}})", "node {{node}}"),
        width=6,
    ),
    graph(
        "Block cache",
        "bytes",
        """Normal is anything up to storage.cache (128 MiB by default). Full, with slow reads: raise it where memory allows.""",
        query(f"sum by (node) (bosingak_rocksdb_block_cache_bytes{{{NODES}}})", "node {{node}}"),
        width=6,
    ),
    graph(
        "Compaction to be done",
        "bytes",
        """Bytes that compaction has to rewrite. Normal is a hump after a burst. Growing for hours: the disk cannot keep up with the load, and
        writes will be slowed down.""",
        query(f"sum by (node) (bosingak_rocksdb_compaction_pending_bytes{{{NODES}}})", "node {{node}}"),
        width=6,
    ),
    graph(
        "Writes stopped",
        "short",
        """1 while RocksDB takes no writes until compaction has caught up. Normal is 0. Otherwise nothing is applied on that node.""",
        query(f"max by (node) (bosingak_rocksdb_write_stopped{{{NODES}}})", "node {{node}}"),
        width=6,
        red_from=1,
    ),
    graph(
        "Checkpoint time",
        "s",
        """How long one checkpoint takes, its flush included. Normal is below a second. Slow: the disk.""",
        quantiles("bosingak_raft_checkpoint_seconds", "", ["node"], "node {{node}}"),
        width=6,
    ),
    graph(
        "Disk free",
        "bytes",
        """On the file system that holds the data. Normal is gigabytes, falling and rising with checkpoints. Below storage.free_space_min (512
        MiB by default) writes are refused with DISK_LOW. Falling steadily: BosingakDiskFillsIn4h tells what to do.""",
        query(f"min by (node) (bosingak_disk_free_bytes{{{NODES}}})", "node {{node}}"),
        width=6,
    ),
    graph(
        "Memory",
        "bytes",
        """Resident, and given out by the allocator. Normal is 200 to 600 MiB and some 50 bytes for each trigger pending. Growing without load is a
        bug worth reporting.""",
        [
            query(f"sum by (node) (process_resident_memory_bytes{{{NODES}}})", "resident, node {{node}}"),
            query(f"sum by (node) (bosingak_memory_allocated_bytes{{{NODES}}})", "allocated, node {{node}}"),
        ],
        width=6,
    ),
    graph(
        "Processor",
        "percentunit",
        """Of one core. Normal when idle is 1 to 2 %. At the number of cores heartbeats starve and leaders change: more cores, or fewer
        partitions led here.""",
        query(f"sum by (node) (rate(process_cpu_seconds_total{{{NODES}}}[$__rate_interval]))", "node {{node}}"),
        width=6,
    ),
]

DASHBOARD = dashboard(
    "bosingak-raft-storage",
    "Leaders, proposals, the log, peers, state and snapshots, RocksDB, the process.",
    LEADERS + PROPOSALS + LOG + PEERS + STATE + ROCKSDB,
)
