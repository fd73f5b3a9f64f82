//! Code of users that options name: what a store knows, and what a tree uses.

use super::TreeOptions;
use crate::{
    compaction::{CompactionFilterFactory, CompactionFilters},
    error::{Error, ErrorKind, Result},
    merge_operator::{MergeOperator, MergeOperators},
    order::{Comparators, KeyOrder},
    prefix::{PrefixExtractor, PrefixExtractors},
};
use alloc::{format, sync::Arc};

/// What trees of a store may name, beside what is built in.
#[derive(Clone, Default, Debug)]
#[non_exhaustive]
pub struct KnownCode {
    /// Prefixes for filters.
    pub prefix_extractors: PrefixExtractors,
    /// What operands do to values.
    pub merge_operators: MergeOperators,
    /// Filters of values at compaction.
    pub compaction_filters: CompactionFilters,
    /// Orders of keys.
    pub comparators: Comparators,
}

impl KnownCode {
    /// Checks all names.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`: a name is empty, longer than 255 bytes, reserved, or that of two.
    pub fn validate(&self) -> Result<()> {
        self.prefix_extractors.validate()?;
        self.merge_operators.validate()?;
        self.compaction_filters.validate()?;
        self.comparators.validate()
    }

    /// The order of keys that options name. Without it nothing of a tree can be used.
    ///
    /// # Errors
    ///
    /// `MissingComparator`; `InvalidArgument`: prefixes go together with an order that is bytewise only.
    pub fn order(&self, options: &TreeOptions) -> Result<KeyOrder> {
        let order = self.comparators.find(&options.comparator).map(KeyOrder::of)?;
        if options.prefix_extractor.is_some() && !order.is_bytewise() {
            let (why, name) =
                ("keys with a common prefix lie together in the order of bytes only", &options.comparator);
            let message = format!("prefix_extractor is set, and comparator is {name:?}: {why}");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(order)
    }

    /// What options name, beside the order of keys.
    ///
    /// # Errors
    ///
    /// `MissingPrefixExtractor`, `MissingMergeOperator`, `MissingCompactionFilter`.
    pub fn find(&self, options: &TreeOptions) -> Result<TreeCode> {
        let (extractor, merge) = (options.prefix_extractor.as_deref(), options.merge_operator.as_deref());
        let filter = options.compaction_filter.as_deref();
        Ok(TreeCode {
            extractor: extractor.map(|name| self.prefix_extractors.find(name)).transpose()?,
            merge: merge.map(|name| self.merge_operators.find(name)).transpose()?,
            filter: filter.map(|name| self.compaction_filters.find(name)).transpose()?,
        })
    }

    /// As [`KnownCode::find`], for who writes nothing and does without what is not known: scans read more tables and find
    /// the same, and what operands come to cannot be read.
    pub fn find_some(&self, options: &TreeOptions) -> TreeCode {
        let (extractor, merge) = (options.prefix_extractor.as_deref(), options.merge_operator.as_deref());
        TreeCode {
            extractor: extractor.and_then(|name| self.prefix_extractors.find(name).ok()),
            merge: merge.and_then(|name| self.merge_operators.find(name).ok()),
            filter: None,
        }
    }
}

/// What a tree uses.
#[derive(Clone, Default)]
pub struct TreeCode {
    /// By which prefixes tables are written and passed over.
    pub extractor: Option<Arc<dyn PrefixExtractor>>,
    /// What makes values of operands.
    pub merge: Option<Arc<dyn MergeOperator>>,
    /// What decides about values that are rewritten.
    pub filter: Option<Arc<dyn CompactionFilterFactory>>,
}
