//! nginx, haproxy and pingora as a reverse proxy with one worker: the peers of the gateway on one core each.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::cores::Place;
use crate::process::{Process, free_address};
use crate::recording::DIRECT;

/// A running peer in front of a server.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// Starts nginx as one process without a master, so that its CPU time is complete. Recordings are not buffered in files, but
/// in buffers of 64 KiB: with the default of a page each, a large one cost it twice what the other peers need. Documents keep the defaults.
pub(crate) fn nginx(server: SocketAddr, directory: &Path, place: &Place) -> Outcome<Peer> {
    let address = free_address()?;
    let at = directory.display();
    let configuration = format!(
        "daemon off;
master_process off;
pid {at}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {at}/body;
  proxy_temp_path {at}/proxy;
  fastcgi_temp_path {at}/fastcgi;
  uwsgi_temp_path {at}/uwsgi;
  scgi_temp_path {at}/scgi;
  upstream bench {{ server {server}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen {address};
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection \"\";
    location / {{ proxy_pass http://bench; }}
    location = {DIRECT} {{
      proxy_pass http://bench;
      client_max_body_size 0;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      proxy_buffer_size 16k;
      proxy_buffers 8 64k;
      proxy_busy_buffers_size 128k;
      client_body_buffer_size 64k;
    }}
  }}
}}
"
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, configuration)?;
    let mut command = place.command(Path::new("nginx"));
    command.arg("-e").arg("stderr").arg("-p").arg(directory).arg("-c").arg(&file);
    accepting("nginx", &mut command, address)
}

/// Starts haproxy with one thread, in the foreground.
pub(crate) fn haproxy(server: SocketAddr, directory: &Path, place: &Place) -> Outcome<Peer> {
    let address = free_address()?;
    let configuration = format!(
        "global
  nbthread 1
  maxconn 1024
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend clients
  bind {address}
  default_backend bench
backend bench
  server bench {server}
"
    );
    let file = directory.join("haproxy.cfg");
    std::fs::write(&file, configuration)?;
    let mut command = place.command(Path::new("haproxy"));
    command.arg("-db").arg("-f").arg(&file);
    accepting("haproxy", &mut command, address)
}

/// Starts the pingora peer of `benches/pingora`, which takes two arguments.
pub(crate) fn pingora(binary: &Path, server: SocketAddr, place: &Place) -> Outcome<Peer> {
    let address = free_address()?;
    let mut command = place.command(binary);
    command.args([address.to_string(), server.to_string()]);
    accepting("pingora", &mut command, address)
}

fn accepting(name: &str, command: &mut Command, address: SocketAddr) -> Outcome<Peer> {
    let (mut process, _) = Process::start(name, command)?;
    process.accepts(address)?;
    Ok(Peer { process, address })
}
