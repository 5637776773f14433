//! The keys of a group in etcd, and the requests about them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::etcd::{Etcd, EtcdError, at};

/// A member of a group that is ready to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The instance's name.
    pub instance: String,
    /// The member's place in the group.
    pub order: u32,
}

/// A group as seen in etcd.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) members: Vec<Member>,
    pub(super) leader: Option<Leader>,
}

/// The holder of the leader key.
#[derive(Debug, Clone)]
pub(super) struct Leader {
    pub(super) instance: String,
    /// The lease the key is bound to.
    pub(super) lease: String,
    /// The revision that created the key.
    pub(super) revision: u64,
}

/// A lease granted by etcd.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) lease: String,
    /// TTL in seconds; etcd may grant more than requested.
    pub(super) seconds: u64,
}

/// The keys of a group, and of one of its members.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) instance: String,
    pub(super) order: u32,
    all: String,
}

impl Keys {
    pub(super) fn new(prefix: &str, group: u32, instance: &str, order: u32) -> Self {
        let all = format!("{}/g/{group}/", prefix.trim_end_matches('/'));
        Self { instance: instance.to_owned(), order, all }
    }

    fn leader(&self) -> String {
        format!("{}leader", self.all)
    }

    fn members(&self) -> String {
        format!("{}m/", self.all)
    }

    fn members_of(&self, order: u32) -> String {
        format!("{}{order:010}/", self.members())
    }

    fn own(&self) -> String {
        self.members_of(self.order) + &self.instance
    }
}

/// Requests a lease with a TTL in seconds.
pub(super) async fn grant(etcd: &Etcd, seconds: u64) -> Result<Granted, EtcdError> {
    let answer = etcd.ask("/v3/lease/grant", &json!({ "TTL": seconds.to_string() })).await?;
    let lease = at(&answer, "/ID").as_str().ok_or_else(|| strange("a lease"))?.to_owned();
    let seconds = number(at(&answer, "/TTL")).filter(|seconds| *seconds > 0).ok_or_else(|| strange("a lease"))?;
    Ok(Granted { lease, seconds })
}

/// Renews a lease; returns its TTL in seconds.
pub(super) async fn renew(etcd: &Etcd, lease: &str) -> Result<u64, EtcdError> {
    let answer = etcd.ask("/v3/lease/keepalive", &json!({ "ID": lease })).await?;
    // An expired lease has no TTL.
    number(at(&answer, "/result/TTL")).filter(|seconds| *seconds > 0).ok_or(EtcdError::NoLease)
}

/// Revokes a lease, and with it every key bound to it.
pub(super) async fn revoke(etcd: &Etcd, lease: &str) -> Result<(), EtcdError> {
    match etcd.ask("/v3/lease/revoke", &json!({ "ID": lease })).await {
        Ok(_) | Err(EtcdError::NoLease) => Ok(()),
        Err(error) => Err(error),
    }
}

impl Keys {
    /// Reads the group. The read is linearizable, which is etcd's default.
    pub(super) async fn view(&self, etcd: &Etcd) -> Result<View, EtcdError> {
        let question = json!({ "key": text(&self.all), "range_end": text(&end(&self.all)) });
        let answer = etcd.ask("/v3/kv/range", &question).await?;
        let mut view = View::default();
        let members = self.members();
        let none = Vec::new();
        for pair in at(&answer, "/kvs").as_array().unwrap_or(&none) {
            let key = decode(at(pair, "/key")).ok_or_else(|| strange("a key"))?;
            if key == self.leader() {
                let lease = at(pair, "/lease").as_str().unwrap_or_default().to_owned();
                let revision = number(at(pair, "/create_revision")).ok_or_else(|| strange("a revision"))?;
                view.leader =
                    Some(Leader { instance: decode(at(pair, "/value")).unwrap_or_default(), lease, revision });
            } else if let Some((order, instance)) = key.strip_prefix(&members).and_then(|member| member.split_once('/'))
                && let Ok(order) = order.parse()
            {
                view.members.push(Member { instance: instance.to_owned(), order });
            }
        }
        Ok(view)
    }

    /// Registers this member as ready, for the lifetime of the lease.
    pub(super) async fn stand(&self, etcd: &Etcd, lease: &str) -> Result<(), EtcdError> {
        let put = json!({ "key": text(&self.own()), "value": text(&self.instance), "lease": lease });
        etcd.ask("/v3/kv/put", &put).await.map(drop)
    }

    /// Removes this member's registration.
    pub(super) async fn stand_down(&self, etcd: &Etcd) -> Result<(), EtcdError> {
        etcd.ask("/v3/kv/deleterange", &json!({ "key": text(&self.own()) })).await.map(drop)
    }

    /// Makes this member the leader, if there is none and no ready member of smaller order. The next view shows the outcome.
    pub(super) async fn claim(&self, etcd: &Etcd, lease: &str) -> Result<(), EtcdError> {
        let (leader, from, to) = (self.leader(), self.members(), self.members_of(self.order));
        let claim = json!({
            // Succeeds only if no key exists in these ranges.
            "compare": [
                { "target": "CREATE", "result": "EQUAL", "create_revision": "0", "key": text(&leader) },
                { "target": "CREATE", "result": "EQUAL", "create_revision": "0", "key": text(&from), "range_end": text(&to) },
            ],
            "success": [{ "request_put": { "key": text(&leader), "value": text(&self.instance), "lease": lease } }],
        });
        etcd.ask("/v3/kv/txn", &claim).await.map(drop)
    }

    /// Releases the leader key, if it still has this creation revision.
    pub(super) async fn resign(&self, etcd: &Etcd, revision: u64) -> Result<(), EtcdError> {
        let leader = text(&self.leader());
        let resign = json!({
            "compare": [{ "target": "CREATE", "result": "EQUAL", "create_revision": revision.to_string(), "key": leader }],
            "success": [{ "request_delete_range": { "key": leader } }],
        });
        etcd.ask("/v3/kv/txn", &resign).await.map(drop)
    }
}

fn text(text: &str) -> String {
    STANDARD.encode(text)
}

fn decode(value: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok()
}

fn number(value: &Value) -> Option<u64> {
    value.as_str().and_then(|text| text.parse().ok()).or_else(|| value.as_u64())
}

/// Returns the end of the range of keys with this prefix: it ends with a slash, which `0` follows.
fn end(prefix: &str) -> String {
    format!("{}0", prefix.trim_end_matches('/'))
}

fn strange(what: &str) -> EtcdError {
    EtcdError::Refused(format!("an answer without {what}"))
}

#[cfg(test)]
mod tests {
    use super::{Keys, end};

    #[test]
    fn members_are_sorted_by_their_order() {
        let keys = |order| Keys::new("/callstore/", 11_010, "callstore1", order);
        assert_eq!(keys(2).own(), "/callstore/g/11010/m/0000000002/callstore1");
        assert_eq!(keys(2).leader(), "/callstore/g/11010/leader");
        assert!(keys(2).own() < keys(10).own());
        // The claim is conditional on all members before its own order, but not on those of its own.
        assert!(keys(1).own() < keys(2).members_of(2) && keys(2).own() >= keys(2).members_of(2));
        let (all, after) = (&keys(1).all, end(&keys(1).all));
        assert!(keys(u32::MAX).own() > *all && keys(u32::MAX).own() < after && keys(1).leader() < after);
        assert!(Keys::new("/callstore", 110, "a", 1).own() < *all, "another group");
    }
}
