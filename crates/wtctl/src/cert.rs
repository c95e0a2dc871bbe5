//! `wtctl cert`: development certificates and their hashes.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use time::OffsetDateTime;
use wt::{Identity, core::tls::SelfSigned};

use crate::{
    failure::Failure,
    output::{STRONG, VALUE},
    serve::NAMES,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const EXAMPLES: &str = "\
Examples:
  wtctl cert
      Write cert.pem and key.pem here, for localhost, 127.0.0.1 and ::1.
  wtctl cert --hostname dev.example --hostname 192.0.2.7 --out certs
      For more names, into a folder.
  wtctl serve --cert cert.pem --key key.pem
      Use them.

Browsers take a certificate by its hash (serverCertificateHashes) only when it is valid for at most
14 days and its key is ECDSA on P-256. Make a new one with --force when it has expired.";

/// Make a development certificate and print its hash in every form.
///
/// The certificate vouches for itself: browsers take it by its hash, Chromium also by a flag.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Name or address of the server besides localhost, 127.0.0.1 and ::1; can be repeated
    #[arg(long = "hostname", value_name = "NAME")]
    hostnames: Vec<String>,
    /// Folder for cert.pem and key.pem; it is made if it is missing
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Days for which the certificate is valid
    #[arg(long, value_name = "N", default_value_t = 13, value_parser = clap::value_parser!(u32).range(1..=13))]
    days: u32,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
}

/// Makes a certificate, writes it and prints its hash.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let names = NAMES.into_iter().map(str::to_owned);
    let names: Vec<_> = names.chain(args.hostnames.iter().cloned()).collect();
    let options = SelfSigned::new(names.clone()).with_validity(DAY * args.days);
    let identity =
        Identity::self_signed_with(&options).map_err(|error| Failure::cannot_start(&error))?;
    let files = Files::write(args, &identity)?;
    print(&names, &files, &identity).map_err(|error| Failure::output(&error))
}

/// Where certificate and key were written.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn write(args: &Args, identity: &Identity) -> Result<Self, Failure> {
        fs::create_dir_all(&args.out).map_err(|error| cannot_write(&args.out, &error))?;
        let files = Self {
            cert: args.out.join("cert.pem"),
            key: args.out.join("key.pem"),
        };
        // Before anything is written: a new certificate beside an old key is of no use.
        for file in [&files.cert, &files.key] {
            if args.force {
                remove(file).map_err(|error| cannot_write(file, &error))?;
            } else if file.symlink_metadata().is_ok() {
                return Err(Failure::bad_argument(format!(
                    "{} exists already: pass --force to replace it, or another folder with --out",
                    file.display()
                )));
            }
        }
        let (cert, key) = identity.to_pem();
        create(&files.cert, &cert, 0o644).map_err(|error| cannot_write(&files.cert, &error))?;
        create(&files.key, &key, 0o600).map_err(|error| cannot_write(&files.key, &error))?;
        Ok(files)
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::bad_argument(format!("cannot write {}: {error}", path.display()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file that does not exist, with these rights where files have such.
fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)?.write_all(text.as_bytes())
}

fn print(names: &[String], files: &Files, identity: &Identity) -> io::Result<()> {
    let hash = identity.certificate_hash();
    let expires = OffsetDateTime::from(identity.not_after());
    let (cert, key) = (files.cert.display(), files.key.display());
    let bytes = hash.as_bytes().map(|byte| format!("0x{byte:02x}"));
    let rows: Vec<_> = bytes.chunks(8).map(|row| row.join(", ")).collect();
    let rows = rows.join(",\n      ");

    let mut out = anstream::stdout().lock();
    writeln!(out, "{STRONG}Certificate{STRONG:#}  {cert}")?;
    writeln!(out, "{STRONG}Key{STRONG:#}          {key}")?;
    writeln!(out, "{STRONG}Names{STRONG:#}        {}", names.join(", "))?;
    writeln!(
        out,
        "{STRONG}Valid{STRONG:#}        until {} {:02}:{:02} UTC",
        expires.date(),
        expires.hour(),
        expires.minute()
    )?;
    writeln!(out, "{STRONG}SHA-256{STRONG:#}      {VALUE}{hash}{VALUE:#}")?;
    writeln!(out, "             {VALUE}{}{VALUE:#}", hash.to_hex_colons())?;
    writeln!(out, "             {VALUE}{}{VALUE:#}", hash.to_base64())?;
    writeln!(
        out,
        "
{STRONG}Server{STRONG:#}
  {VALUE}wtctl serve --cert {cert} --key {key}{VALUE:#}

{STRONG}Page{STRONG:#}, in any browser with WebTransport
{VALUE}  new WebTransport(\"https://localhost:4433/\", {{
    serverCertificateHashes: [{{ algorithm: \"sha-256\", value: new Uint8Array([
      {rows},
    ]) }}],
  }});{VALUE:#}

{STRONG}Chromium{STRONG:#}, for pages that do not name the hash
{VALUE}  chromium --webtransport-developer-mode \\
    --ignore-certificate-errors-spki-list={}{VALUE:#}",
        identity.spki_base64()
    )?;
    out.flush()
}
