//! pingora as a plain reverse proxy with one thread and keep-alive connections to the server.
//!
//! `pingora-peer LISTEN SERVER` serves until it is killed or its standard input closes; without arguments it prints its version.

use std::io::Read;
use std::net::SocketAddr;
use std::process::ExitCode;

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// Forwards everything to one server.
struct Forward {
    server: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.server, false, String::new())))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, server] = arguments.as_slice() else {
        println!("pingora {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    };
    let Ok(server) = server.parse() else {
        eprintln!("{server} is no address");
        return ExitCode::FAILURE;
    };
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    // Work stealing only costs time with a single thread.
    let configuration = ServerConf { threads: 1, work_stealing: false, ..ServerConf::default() };
    let mut pingora = Server::new_with_opt_and_conf(None, configuration);
    pingora.bootstrap();
    let mut service = http_proxy_service(&pingora.configuration, Forward { server });
    service.add_tcp(listen);
    pingora.add_service(service);
    pingora.run_forever()
}
