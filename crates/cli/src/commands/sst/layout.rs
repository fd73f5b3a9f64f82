//! `sst layout`: where everything in a table lies.

use super::{brief, failure, open};
use crate::{
    database::lower_case,
    exit::{self, Failure},
    output::{
        Align::{Left, Right},
        Console, Output, Table,
    },
    text,
};
use isopach::engine::{
    error::Error,
    table::{Finding, Region, RegionKind, inspect::Content},
};
use serde_json::{Value, json};
use std::path::Path;

/// Shows every region. What is damaged is shown with its place, and is a failure at the end.
pub(super) fn layout(path: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
    let what = format!("read {}", path.display());
    let table = open(path)?;
    let layout = table.layout().map_err(|error| failure(&what, &error))?;

    let mut found = layout.found().to_vec();
    let mut rows = Table::new(&[
        ("region", Left),
        ("offset", Right),
        ("bytes", Right),
        ("stored", Right),
        ("raw", Right),
        ("codec", Left),
        ("entries", Right),
        ("deletes", Right),
        ("seqnos", Left),
        ("first key", Left),
        ("separator", Left),
    ]);
    for region in layout.regions() {
        let content = layout.content(region);
        match console.output() {
            Output::Table => rows.row(row(region, &content)),
            Output::Jsonl => console.object("sst.layout", object(region, &content))?,
        }
        // A damaged index is told of already.
        if let Err(error) = content
            && !layout.found().iter().any(|it| it.offset == region.offset)
        {
            let message = error.to_string();
            found.push(Finding { offset: region.offset, message, keys: None, is_harmless: false });
        }
    }
    found.sort_by_key(|it| it.offset);

    match console.output() {
        Output::Table => {
            console.table(&rows)?;
            let regions = text::counted(layout.regions().len() as u64, "region", "regions");
            if found.is_empty() {
                writeln!(console.out(), "{regions} take all of {} bytes", table.bytes())?;
            }
            if table.order().is_none() {
                writeln!(
                    console.out(),
                    "the order of keys is not known here: whether keys are in it was not checked"
                )?;
            }
            for it in &found {
                writeln!(console.out(), "damaged at byte {}: {}", it.offset, it.message)?;
            }
        }
        Output::Jsonl => {
            let findings = found.iter().map(|it| json!({ "offset": it.offset, "message": it.message }));
            let fields = json!({
                "file": table.name(),
                "bytes": table.bytes(),
                "regions": layout.regions().len(),
                "comparator_known": table.order().is_some(),
                "findings": findings.collect::<Vec<_>>(),
            });
            console.object("sst.layout.sum", fields)?;
        }
    }
    match found.len() {
        0 => Ok(()),
        places => {
            let message =
                format!("{} found", text::counted(places as u64, "damaged place", "damaged places"));
            Err(Failure::new(exit::CORRUPTION, what, message))
        }
    }
}

fn row(region: &Region, content: &Result<Content, Error>) -> [String; 11] {
    let name = match region.kind {
        RegionKind::Data(at) | RegionKind::IndexPart(at) | RegionKind::Filter(at) => {
            format!("{} {at}", word(region.kind))
        }
        kind => word(kind).to_owned(),
    };
    let [mut stored, mut raw, mut codec, mut entries, mut deletes, mut seqnos, mut first, mut separator] =
        [""; 8].map(String::from);
    match content {
        Err(_) => codec = "damaged".to_owned(),
        Ok(content) => {
            if let Some(frame) = &content.frame {
                stored = frame.stored_bytes.to_string();
                raw = frame.raw_bytes.to_string();
                codec = lower_case(&frame.compression);
            }
            if let Some(block) = &content.block {
                let counted = block.statistics;
                entries = counted.entries.to_string();
                deletes = counted.tombstones.to_string();
                seqnos = format!("{}..{}", counted.first_seqno, counted.last_seqno);
                first = brief(&block.first_key);
                separator = block.separator.as_ref().map(|(key, _)| brief(key)).unwrap_or_default();
            }
        }
    }
    let (offset, bytes) = (region.offset.to_string(), region.bytes.to_string());
    [name, offset, bytes, stored, raw, codec, entries, deletes, seqnos, first, separator]
}

fn object(region: &Region, content: &Result<Content, Error>) -> Value {
    let mut fields = json!({ "region": word(region.kind), "offset": region.offset, "bytes": region.bytes });
    match region.kind {
        RegionKind::Data(at) => fields["block"] = at.into(),
        RegionKind::IndexPart(at) | RegionKind::Filter(at) => fields["partition"] = at.into(),
        _ => {}
    }
    let content = match content {
        Ok(content) => content,
        Err(error) => {
            fields["damage"] = error.to_string().into();
            return fields;
        }
    };
    if let Some(frame) = &content.frame {
        fields["sections"] = frame.sections.into();
        fields["stored_bytes"] = frame.stored_bytes.into();
        fields["raw_bytes"] = frame.raw_bytes.into();
        fields["codec"] = lower_case(&frame.compression).into();
    }
    if let Some(block) = &content.block {
        let counted = block.statistics;
        fields["entries"] = counted.entries.into();
        fields["tombstones"] = counted.tombstones.into();
        fields["first_seqno"] = counted.first_seqno.raw().into();
        fields["last_seqno"] = counted.last_seqno.raw().into();
        fields["first_key"] = text::json(&block.first_key);
        fields["last_key"] = text::json(&block.last_key);
        if let Some((key, seqno)) = &block.separator {
            fields["separator"] = json!({ "key": text::json(key), "seqno": seqno.raw() });
        }
    }
    fields
}

fn word(kind: RegionKind) -> &'static str {
    match kind {
        RegionKind::Header => "header",
        RegionKind::Data(_) => "data",
        RegionKind::IndexPart(_) => "index-part",
        RegionKind::IndexMirror => "index-mirror",
        RegionKind::PropertiesMirror => "properties-mirror",
        RegionKind::RangeTombstones => "range-tombstones",
        RegionKind::Statistics => "statistics",
        RegionKind::Filter(_) => "filter",
        RegionKind::FilterDirectory => "filter-directory",
        RegionKind::PrefixFilter => "prefix-filter",
        RegionKind::Index => "index",
        RegionKind::Properties => "properties",
        RegionKind::Footer => "footer",
    }
}
