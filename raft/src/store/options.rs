//! How RocksDB is set up: rows of a few hundred bytes, written in order of apply, read by key and in long runs.

use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, Env, MergeOperands, Options, WriteBufferManager, WriteOptions,
    compaction_filter::Decision,
};

use crate::error::{Error, StoreError};
use crate::machine::CompactionFilter;

/// Memory and threads of the stores of one node, shared by its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Bytes for blocks read from disk and for write buffers together. Default 256 MiB; at least 8 MiB.
    pub memory_bytes: usize,
    /// Of those, how many may be written and not yet in files. Default 96 MiB; at least 1 MiB, at most half of the above.
    pub write_buffer_bytes: usize,
    /// Threads that flush and compact. Default 2; 1 to 64.
    pub background_threads: u32,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig { memory_bytes: 256 << 20, write_buffer_bytes: 96 << 20, background_threads: 2 }
    }
}

impl StoreConfig {
    /// Refuses values out of bounds, naming the field and both numbers.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |field, reason| Err(Error::Config { field, reason });
        if self.memory_bytes < 8 << 20 {
            return refuse("store.memory_bytes", format!("{} is below the least of {}", self.memory_bytes, 8 << 20));
        }
        let most = self.memory_bytes / 2;
        if !(1 << 20..=most).contains(&self.write_buffer_bytes) {
            return refuse(
                "store.write_buffer_bytes",
                format!(
                    "{} is not between {} and {most}, half of store.memory_bytes",
                    self.write_buffer_bytes,
                    1 << 20
                ),
            );
        }
        if !(1..=64).contains(&self.background_threads) {
            return refuse("store.background_threads", format!("{} is not between 1 and 64", self.background_threads));
        }
        Ok(())
    }
}

/// What the stores of a node have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    config: StoreConfig,
    cache: Cache,
    buffers: WriteBufferManager,
    env: Env,
    stores: usize,
}

impl Shared {
    /// For `stores` stores.
    pub(crate) fn new(config: &StoreConfig, stores: usize) -> Result<Self, StoreError> {
        let cache = Cache::new_lru_cache(config.memory_bytes);
        // Write buffers are charged to the cache, so that the two together stay within memory_bytes. No stalling: the manager makes the
        // fullest store flush, and applies are already bounded by what the log lets through.
        let buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(config.write_buffer_bytes, false, cache.clone());
        let mut env = Env::new()?;
        let threads = i32::try_from(config.background_threads).unwrap_or(64);
        env.set_low_priority_background_threads(threads);
        env.set_high_priority_background_threads(threads.div_euclid(2).max(1));
        Ok(Shared { config: config.clone(), cache, buffers, env, stores: stores.max(1) })
    }

    /// Options of one store.
    pub(super) fn options(&self, filter: Option<CompactionFilter>) -> Result<Options, StoreError> {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        // A scan of due rows reads some 75 rows per block; a smaller block would double the index.
        table.set_block_size(16 << 10);
        table.set_bloom_filter(10.0, false);
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_format_version(6);

        // Rows of a batch come in order of their keys, so the place of one is near that of the one before it with the same first byte, the
        // kind of row: the memtable goes on from there instead of from the top of its skip list. The binding has no method for it.
        let mut options = Options::default()
            .get_options_from_string("memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.1")?;
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_env(&self.env);
        options.set_write_buffer_manager(&self.buffers);
        // One store may take what the others leave, but not all of it in one piece: a flush must end soon enough to free room.
        let buffer = (self.config.write_buffer_bytes / self.stores.min(3)).clamp(1 << 20, 64 << 20);
        options.set_write_buffer_size(buffer);
        options.set_max_write_buffer_number(4);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.05);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_target_file_size_base(32 << 20);
        options.set_max_bytes_for_level_base(128 << 20);
        options.set_max_background_jobs(i32::try_from(self.config.background_threads + 1).unwrap_or(64));
        options.set_bytes_per_sync(1 << 20);
        options.set_avoid_unnecessary_blocking_io(true);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(4 << 20);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_merge_operator_associative("bosingak.add", add);
        // Counters are not folded as they are written, which would look each one up: a flush folds them, and until then a reader adds up what
        // one memtable holds.
        options.set_max_successive_merges(0);
        if let Some(filter) = filter {
            options.set_compaction_filter("bosingak.visible", move |_level, key, value| {
                if key.first() != Some(&0) && filter(key, value) { Decision::Remove } else { Decision::Keep }
            });
        }
        Ok(options)
    }

    /// Bytes in the cache, the write buffers of all stores among them.
    pub(crate) fn cache_bytes(&self) -> usize {
        self.cache.get_usage()
    }

    /// Bytes in write buffers of all stores.
    pub(crate) fn write_buffer_bytes(&self) -> usize {
        self.buffers.get_usage()
    }
}

/// Writes go to the memtable only: the Raft log is the log, and what a crash takes is applied again from there.
pub(super) fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

/// `i64` addition that wraps, so that operands may be folded in any grouping. Anything but 8 bytes fails the read or the compaction.
fn add(_key: &[u8], existing: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let number = |bytes: &[u8]| bytes.try_into().map(i64::from_le_bytes).ok();
    let mut sum = match existing {
        Some(bytes) => number(bytes)?,
        None => 0,
    };
    for operand in operands {
        sum = sum.wrapping_add(number(operand)?);
    }
    Some(sum.to_le_bytes().to_vec())
}
