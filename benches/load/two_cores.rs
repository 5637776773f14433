//! A 64 MiB recording through the gateway on two cores, where hashing gets a core of its own.

use crate::client::Client;
use crate::cores::Sides;
use crate::figures::Figures;
use crate::gateway::{Gateway, Servers};
use crate::recording::{DIRECT, MIB, fetch, hashing, hashing_md5, rate, reserve, upload};
use crate::report::{Bound, Report};
use crate::subjects::{BASE, STOWAGE};
use crate::workload::HTTP;
use crate::{Outcome, Run};

/// Returns the rounds, and the length of the recording in MiB.
const fn effort(is_quick: bool) -> (usize, u64) {
    if is_quick { (1, 8) } else { (15, 64) }
}

/// A gateway on the last two cores, if there are two and taskset, with a connection through it and one around it.
struct Setup {
    straight: Client,
    through: Client,
    _gateway: Gateway,
    _servers: Servers,
}

impl Setup {
    async fn start(run: &Run) -> Outcome<Self> {
        let place = Sides::find().map(|sides| sides.two_cores()).unwrap_or_default();
        let servers = Servers::start(HTTP).await?;
        let gateway = servers.gateway(&run.binary, &place).await?;
        let straight = Client::connect(servers.objects).await?;
        let through = Client::connect(gateway.address).await?;
        Ok(Self { straight, through, _gateway: gateway, _servers: servers })
    }
}

pub(crate) async fn get(report: &mut Report, run: &Run) -> Outcome<()> {
    let (rounds, mebibytes) = effort(run.is_quick);
    let length = mebibytes * MIB;
    let mut setup = Setup::start(run).await?;
    let (straight, through) = (&mut setup.straight, &mut setup.through);
    straight.put_recording(DIRECT, length).await?;
    let target = upload(through, "202011-get", length).await?;
    let mut rates = Figures::default();
    // Round 0 compares every byte and is not counted.
    for round in 0..=rounds {
        let direct = rate(mebibytes, fetch(straight, DIRECT, length, round == 0)).await?;
        let proxied = rate(mebibytes, fetch(through, &target, length, round == 0)).await?;
        if round > 0 {
            rates.add(BASE, direct);
            rates.add(STOWAGE, proxied);
        }
    }
    let row = rates.row(format!("GET of {mebibytes} MiB, two cores: MiB/s; base: straight from the object server"), 0);
    report.add(row.judge(&rates.ratios(STOWAGE, BASE), "of base", Bound::AtLeast(0.8)));
    Ok(())
}

pub(crate) async fn put(report: &mut Report, run: &Run) -> Outcome<()> {
    let (rounds, mebibytes) = effort(run.is_quick);
    let length = mebibytes * MIB;
    let mut setup = Setup::start(run).await?;
    let (straight, through) = (&mut setup.straight, &mut setup.through);
    let (mut rates, mut hashed, mut md5) = (Figures::default(), Figures::default(), Figures::default());
    let (mut of_lesser, mut of_hashing) = (Vec::new(), Vec::new());
    // Round 0 opens connections and is not counted.
    for round in 0..=rounds {
        let direct = rate(mebibytes, straight.put_recording(DIRECT, length)).await?;
        let (both, one) = (hashing(mebibytes)?, hashing_md5(mebibytes)?);
        let target = reserve(through, &format!("202011-put{round}"), HTTP).await?;
        let proxied = rate(mebibytes, through.put_recording(&target, length)).await?;
        if round > 0 {
            rates.add(BASE, direct);
            rates.add(STOWAGE, proxied);
            hashed.add(BASE, both);
            hashed.add(STOWAGE, proxied);
            md5.add(BASE, one);
            of_lesser.push(proxied / direct.min(both));
            of_hashing.push(proxied / both);
        }
    }
    let name = format!("PUT of {mebibytes} MiB, two cores: MiB/s");
    let row = rates.row(format!("{name}; base: straight to the object server"), 0);
    report.add(row.judge(&of_lesser, "of the lesser of base and hashing", Bound::AtLeast(0.8)));
    let row = hashed.row(format!("{name}; base: MD5 and SHA-256 alone on one thread"), 0);
    report.add(row.judge(&of_hashing, "of base", Bound::AtLeast(1.0)));
    report.add(md5.row("MD5 alone on one thread: MiB/s".to_owned(), 0));
    Ok(())
}
