//! `sst show`: what a table holds and how it was written.

use super::{brief, failure, filter_line, filter_object, kind_word, open};
use crate::{
    database::{self, lower_case},
    exit::Failure,
    output::{Console, Output},
    text,
};
use isopach::engine::{
    codec::{FORMAT_VERSION, HEADER_BYTES},
    dictionary::base_name,
    error::Result,
    key::ValueKind,
    table::{
        FilterOptions, Properties, RegionKind,
        inspect::{LoneTable, TableFilter},
        portable::NO_DATABASE,
    },
    tree::TreeOptions,
};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Describes a table. Reads its properties, index and filter, and the whole file once for its digest.
pub(super) fn show(path: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
    let table = open(path)?;
    let facts = Facts::of(&table).map_err(|error| failure(format!("read {}", path.display()), &error))?;

    match console.output() {
        Output::Table => {
            for (name, value) in lines(&facts) {
                writeln!(console.out(), "{name:<12} {value}")?;
            }
        }
        Output::Jsonl => console.object("sst.show", object(&facts))?,
    }
    Ok(())
}

/// What a table says of itself.
struct Facts<'a> {
    table: &'a LoneTable,
    properties: Properties,
    digest: u64,
    filter: Option<TableFilter>,
    prefix_filter: Option<TableFilter>,
    /// Of the parts of the file.
    sizes: Sizes,
    /// Options of the tree that it was written for; `None` if this program does not know them.
    options: Option<TreeOptions>,
}

#[derive(Default)]
struct Sizes {
    data: u64,
    filter: u64,
    prefix_filter: u64,
    index: u64,
    ranges: u64,
    statistics: u64,
    properties: u64,
}

impl Facts<'_> {
    fn of(table: &LoneTable) -> Result<Facts<'_>> {
        let properties = table.properties()?;
        let (filter, prefix_filter) = (table.filter()?, table.prefix_filter()?);
        let mut sizes = Sizes::default();
        for region in table.layout()?.regions() {
            match region.kind {
                RegionKind::Data(_) => sizes.data += region.bytes,
                RegionKind::Filter(_) | RegionKind::FilterDirectory => sizes.filter += region.bytes,
                RegionKind::Index | RegionKind::IndexPart(_) | RegionKind::IndexMirror => {
                    sizes.index += region.bytes;
                }
                RegionKind::Properties | RegionKind::PropertiesMirror => sizes.properties += region.bytes,
                RegionKind::RangeTombstones => sizes.ranges += region.bytes,
                RegionKind::Statistics => sizes.statistics += region.bytes,
                RegionKind::PrefixFilter => sizes.prefix_filter += region.bytes,
                RegionKind::Header | RegionKind::Footer => {}
            }
        }
        let options = TreeOptions::decode(&properties.seed.tree_options).ok();
        Ok(Facts { table, digest: table.digest()?, filter, prefix_filter, sizes, options, properties })
    }

    /// Whether it was written outside of databases, for bulk loads.
    fn belongs_to_none(&self) -> bool {
        self.table.database() == NO_DATABASE
    }

    /// Bytes of keys and values before they were put together and compressed.
    fn raw_bytes(&self) -> u64 {
        self.properties.key_bytes.saturating_add(self.properties.value_bytes)
    }

    /// Entries by kind, of the kinds that there are.
    fn kinds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let kinds = (1..=8).filter_map(ValueKind::from_raw);
        kinds.map(|kind| (kind_word(kind), self.properties.counts.of(kind))).filter(|(_, count)| *count > 0)
    }
}

/// The order of keys, and what is not done if it is not known.
fn key_order(table: &LoneTable, name: &str) -> String {
    let unknown =
        if table.order().is_none() { " (not known here: not checked, and not searched by)" } else { "" };
    format!("{}{unknown}", text::plain(name.as_bytes()))
}

fn lines(facts: &Facts<'_>) -> Vec<(&'static str, String)> {
    let Facts { table, properties, sizes, .. } = facts;
    let (seed, belongs_to_none) = (&properties.seed, facts.belongs_to_none());
    let kinds: Vec<String> = facts.kinds().map(|(kind, count)| format!("{count} {kind}")).collect();
    let filter = facts.filter.as_ref().map_or_else(|| "none".to_owned(), |it| filter_line(it, "key", "keys"));
    let asked = properties.filter.map_or_else(|| "none".to_owned(), asked_text);
    let mut lines = vec![
        ("file", table.name().to_owned()),
        ("format", format!("{FORMAT_VERSION:#06x}")),
        ("uuid", table.uuid().to_string()),
        (
            "database",
            if belongs_to_none { "none: to be loaded into any".into() } else { table.database().to_string() },
        ),
        ("size", format!("{} ({} bytes)", text::size(table.bytes()), table.bytes())),
        ("digest", format!("{:016x}", facts.digest)),
        (
            "keyspace",
            if belongs_to_none { "none".into() } else { format!("{} (id {})", seed.tree_name, seed.tree.0) },
        ),
        ("written", format!("for level {}, {}", seed.level.0, text::utc(seed.created_at.0))),
        ("entries", format!("{} ({})", properties.counts.total(), kinds.join(", "))),
        ("tombstones", properties.counts.tombstones().to_string()),
        ("keys", format!("{} .. {}", brief(&properties.first_key), brief(&properties.last_key))),
        ("seqnos", format!("{} to {}", properties.first_seqno, properties.last_seqno)),
        ("replay point", seed.replay_point.to_string()),
        (
            "content",
            format!(
                "{} of keys, {} of values",
                text::size(properties.key_bytes),
                text::size(properties.value_bytes)
            ),
        ),
        (
            "data",
            format!(
                "{} in {}, {}, {:.0} % of the content",
                text::size(sizes.data),
                text::counted(properties.data_blocks, "block", "blocks"),
                properties.compression,
                sizes.data as f64 / facts.raw_bytes().max(1) as f64 * 100.0,
            ),
        ),
        ("index", text::size(sizes.index)),
        ("filter", format!("{filter}; asked for: {asked}")),
        ("statistics", text::size(sizes.statistics)),
        ("properties", text::size(sizes.properties)),
        ("key order", key_order(table, &seed.comparator)),
    ];
    if let Some(dictionary) = properties.dictionary {
        lines.push((
            "dictionary",
            format!("{} of {}", base_name(dictionary.id), text::size(dictionary.bytes)),
        ));
    }
    for (name, value) in [("merges by", &seed.merge_operator), ("prefixes by", &seed.extractor)] {
        if !value.is_empty() {
            lines.push((name, text::plain(value.as_bytes()).into_owned()));
        }
    }
    let prefix_filter = facts.prefix_filter.as_ref();
    lines.extend(prefix_filter.map(|it| ("prefixes", filter_line(it, "prefix", "prefixes"))));
    let options = facts.options.as_ref().map(database::table_options);
    lines.push((
        "options",
        options.map_or_else(|| "not known to this program".to_owned(), |options| pairs(&options)),
    ));
    match seed.lineage.as_slice() {
        [] if belongs_to_none => {}
        [] => lines.push(("lineage", "flushed".to_owned())),
        tables => lines.extend(tables.iter().map(|uuid| ("lineage", format!("merged from {uuid}")))),
    }
    lines
}

fn pairs(options: &[(&'static str, String)]) -> String {
    options.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn asked_text(asked: FilterOptions) -> String {
    format!("{} of {} bits", lower_case(&asked.kind), asked.bits_per_key)
}

fn object(facts: &Facts<'_>) -> Value {
    let Facts { table, properties, sizes, .. } = facts;
    let (seed, has_database) = (&properties.seed, !facts.belongs_to_none());
    let kinds: Map<String, Value> =
        facts.kinds().map(|(kind, count)| (kind.to_owned(), count.into())).collect();
    let options = facts.options.as_ref().map(|options| {
        let options = database::table_options(options).into_iter();
        Value::Object(options.map(|(name, value)| (name.to_owned(), value.into())).collect())
    });
    json!({
        "file": table.name(),
        "format": FORMAT_VERSION,
        "uuid": table.uuid().to_string(),
        "database": has_database.then(|| table.database().to_string()),
        "bytes": table.bytes(),
        "digest": format!("{:016x}", facts.digest),
        "keyspace": has_database.then_some(&seed.tree_name),
        "keyspace_id": has_database.then_some(seed.tree.0),
        "level": seed.level.0,
        "run_age": seed.run_age,
        "created_at_us": seed.created_at.0,
        "entries": properties.counts.total(),
        "tombstones": properties.counts.tombstones(),
        "kinds": kinds,
        "first_key": text::json(&properties.first_key),
        "last_key": text::json(&properties.last_key),
        "first_seqno": properties.first_seqno.raw(),
        "last_seqno": properties.last_seqno.raw(),
        "replay_point": seed.replay_point.raw(),
        "key_bytes": properties.key_bytes,
        "value_bytes": properties.value_bytes,
        "data_blocks": properties.data_blocks,
        "compression": properties.compression.to_string(),
        "dictionary": properties.dictionary.map(|dictionary| json!({
            "file": base_name(dictionary.id),
            "bytes": dictionary.bytes,
        })),
        "header_bytes": HEADER_BYTES,
        "data_bytes": sizes.data,
        "filter_bytes": sizes.filter,
        "prefix_filter_bytes": sizes.prefix_filter,
        "range_tombstones_bytes": sizes.ranges,
        "index_bytes": sizes.index,
        "statistics_bytes": sizes.statistics,
        "properties_bytes": sizes.properties,
        "filter": facts.filter.as_ref().map(filter_object),
        "prefix_filter": facts.prefix_filter.as_ref().map(filter_object),
        "filter_asked": properties.filter.map(|asked| json!({
            "kind": lower_case(&asked.kind),
            "bits_per_key": asked.bits_per_key,
        })),
        "comparator": seed.comparator,
        "comparator_known": facts.table.order().is_some(),
        "merge_operator": seed.merge_operator,
        "extractor": seed.extractor,
        "options": options,
        "lineage": seed.lineage.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
