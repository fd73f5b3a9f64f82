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
            found.push(Finding { offset: region.offset, message, keys: None });
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

fn row(region: &Region, content: &Result<Content, Error>) -> [String; 9] {
    let name = match region.kind {
        RegionKind::Data(block) => format!("data {block}"),
        kind => word(kind).to_owned(),
    };
    let [mut stored, mut raw, mut codec, mut entries, mut first, mut separator] = [""; 6].map(String::from);
    match content {
        Err(_) => codec = "damaged".to_owned(),
        Ok(content) => {
            if let Some(frame) = &content.frame {
                stored = frame.stored_bytes.to_string();
                raw = frame.raw_bytes.to_string();
                codec = lower_case(&frame.compression);
            }
            if let Some(block) = &content.block {
                entries = block.entries.to_string();
                first = brief(&block.first_key);
                separator = block.separator.as_ref().map(|(key, _)| brief(key)).unwrap_or_default();
            }
        }
    }
    let (offset, bytes) = (region.offset.to_string(), region.bytes.to_string());
    [name, offset, bytes, stored, raw, codec, entries, first, separator]
}

fn object(region: &Region, content: &Result<Content, Error>) -> Value {
    let mut fields = json!({ "region": word(region.kind), "offset": region.offset, "bytes": region.bytes });
    if let RegionKind::Data(block) = region.kind {
        fields["block"] = block.into();
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
        fields["entries"] = block.entries.into();
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
        RegionKind::Filter => "filter",
        RegionKind::Index => "index",
        RegionKind::Properties => "properties",
        RegionKind::Footer => "footer",
    }
}
