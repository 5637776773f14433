//! What lives, in short, as the file has it: a start reads this and no item.

use redb::{ReadableTable, TableDefinition, TableHandle, WriteTransaction};

use super::StateError;
use super::brief::{Brief, Names};
use super::layout::{ITEMS, stored};
use crate::fold::{Key, Micros, Standing};

/// How it stands, and whether its record is due; call, switch, account, domain, source, from, to; when it began and its last sign; when
/// talk began, its end and its doubt; links.
pub(super) type Row = (
    (&'static str, bool),
    &'static str,
    Text,
    Text,
    Text,
    Text,
    Text,
    Text,
    (Micros, Micros),
    [Option<Micros>; 3],
    Vec<&'static str>,
);
type Text = Option<&'static str>;
/// A row, borrowed.
pub(super) type Short<'a> = <Row as redb::Value>::SelfType<'a>;

/// The items that memory holds.
pub(super) const LIVE: TableDefinition<'_, &str, Row> = TableDefinition::new("briefs");

/// The row of a brief.
pub(super) fn of(brief: &Brief, is_due: bool) -> Short<'_> {
    (
        (brief.standing.name(), is_due),
        &*brief.call,
        brief.node.as_deref(),
        brief.account.as_deref(),
        brief.domain.as_deref(),
        brief.source.as_deref(),
        brief.from.as_deref(),
        brief.to.as_deref(),
        (brief.created, brief.last),
        [brief.answered, brief.ended, brief.doubted],
        brief.links.iter().map(Key::as_str).collect(),
    )
}

/// The brief of a row, and whether its record is due; none where it is not one of these.
pub(super) fn read(key: &str, short: Short<'_>, names: &mut Names) -> Option<(Brief, bool)> {
    let ((standing, is_due), call, node, account, domain, source, from, to, (created, last), times, links) = short;
    let [answered, ended, doubted] = times;
    let mut shared = |text: Option<&str>| text.map(|text| names.get(text));
    let brief = Brief {
        key: Key::parse(key)?,
        standing: Standing::of_name(standing)?,
        node: shared(node),
        account: shared(account),
        domain: shared(domain),
        source: shared(source),
        call: names.get(call),
        from: from.map(Box::from),
        to: to.map(Box::from),
        created,
        answered,
        ended,
        last,
        doubted,
        links: links.into_iter().map(Key::parse).collect::<Option<_>>()?,
        is_absorbed: false,
    };
    Some((brief, is_due))
}

/// Makes the table. A file of an older release has the items alone.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), StateError> {
    let is_there = transaction.list_tables().map_err(StateError::file)?.any(|table| table.name() == LIVE.name());
    let items = transaction.open_table(ITEMS).map_err(StateError::file)?;
    let mut live = transaction.open_table(LIVE).map_err(StateError::file)?;
    if is_there {
        return Ok(());
    }
    let mut names = Names::default();
    for row in items.iter().map_err(StateError::file)? {
        let (key, bytes) = row.map_err(StateError::file)?;
        let item = stored(bytes.value())?;
        if let Some(key) = Key::parse(key.value()).filter(|_| item.is_live()) {
            let brief = names.brief(&key, &item);
            live.insert(key.as_str(), of(&brief, item.due.is_some())).map_err(StateError::file)?;
        }
    }
    Ok(())
}
