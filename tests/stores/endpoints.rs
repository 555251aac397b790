//! The servers: ours in this process, moto as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use netckpt::store::server::{Keys, ServeError, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

use super::{ACCESS_KEY, BUCKET, SECRET_KEY};

/// Our own server over a folder.
pub struct Own {
    pub endpoint: Url,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Own {
    pub async fn start(folder: &Path) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), folder)
    }

    pub fn on(listener: TcpListener, folder: &Path) -> Self {
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let keys = Keys { access_key: ACCESS_KEY.into(), secret_key: SECRET_KEY.into() };
        let (stop, stopped) = oneshot::channel();
        let folder = folder.to_owned();
        let task = tokio::spawn(async move {
            let shutdown = async move { drop(stopped.await) };
            serve(listener, folder, keys, &[BUCKET.to_owned()], shutdown).await
        });
        Self { endpoint, stop, task }
    }

    pub fn stop(self) -> JoinHandle<Result<(), ServeError>> {
        self.stop.send(()).unwrap();
        self.task
    }
}

/// `moto_server`, ended when dropped. It looks at credentials as IAM does.
pub struct Moto {
    pub endpoint: Url,
    pub access_key: String,
    pub secret_key: String,
    process: Child,
}

impl Moto {
    pub async fn start() -> Self {
        Self::with(&[], reqwest::Client::new()).await
    }

    /// With TLS by a certificate for 127.0.0.1; gives the PEM of the authority that signed it too.
    pub async fn with_tls(folder: &Path) -> (Self, Vec<u8>) {
        make_certificates(folder);
        let path = |name: &str| folder.join(name).display().to_string();
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
        let arguments = ["-c".to_owned(), path("leaf.pem"), "-k".to_owned(), path("leaf.key")];
        let moto = Self::with(&arguments, client).await;
        (moto, std::fs::read(folder.join("ca.pem")).unwrap())
    }

    async fn with(arguments: &[String], client: reqwest::Client) -> Self {
        // Bucket, user, key and policy are made before it begins to ask who asks.
        let mut process = Command::new(moto_server())
            .args(["-H", "127.0.0.1", "-p", "0"])
            .args(arguments)
            .env("INITIAL_NO_AUTH_ACTION_COUNT", "4")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let endpoint = loop {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "moto_server ended at its start");
            if let Some((_, url)) = line.split_once("Running on ") {
                break url.split_whitespace().next().unwrap().parse::<Url>().unwrap();
            }
        };
        // It must not block on a full pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let mut moto =
            Self { endpoint, access_key: String::new(), secret_key: String::new(), process };
        moto.make_bucket_and_user(&client).await;
        moto
    }

    async fn make_bucket_and_user(&mut self, client: &reqwest::Client) {
        let bucket = self.endpoint.join(BUCKET).unwrap();
        assert!(client.put(bucket).send().await.unwrap().status().is_success());
        let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A\
                      %22Allow%22%2C%22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
        let mut made = String::new();
        for action in [
            "CreateUser&UserName=agent".to_owned(),
            format!("PutUserPolicy&UserName=agent&PolicyName=all&PolicyDocument={policy}"),
            "CreateAccessKey&UserName=agent".to_owned(),
        ] {
            // What it is asked for is told by the scope of the (unchecked) signature.
            let scope = "Credential=a/20260101/us-east-1/iam/aws4_request";
            let answer = client
                .post(self.endpoint.clone())
                .header("content-type", "application/x-www-form-urlencoded")
                .header("authorization", format!("AWS4-HMAC-SHA256 {scope}, Signature=0"))
                .body(format!("Version=2010-05-08&Action={action}"))
                .send()
                .await
                .unwrap();
            let status = answer.status();
            made = answer.text().await.unwrap();
            assert!(status.is_success(), "{action}: {status} {made}");
        }
        let field = |name: &str| {
            let (_, rest) = made.split_once(&format!("<{name}>")).expect("a key");
            rest.split_once('<').unwrap().0.to_owned()
        };
        (self.access_key, self.secret_key) = (field("AccessKeyId"), field("SecretAccessKey"));
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn moto_server() -> PathBuf {
    let cache = std::env::var_os("NETCKPT_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/netckpt"),
        PathBuf::from,
    );
    let program = cache.join("moto/bin/moto_server");
    assert!(
        program.exists(),
        "{} is missing. It is an S3 server from PyPI; install it with tests/cluster/install.sh, or \
         by hand: python3 -m venv {dir} && {dir}/bin/pip install 'moto[server]'",
        program.display(),
        dir = cache.join("moto").display(),
    );
    program
}

fn make_certificates(folder: &Path) {
    std::fs::write(folder.join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    for command in [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca \
         -keyout ca.key -out ca.pem",
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=store \
         -keyout leaf.key -out leaf.csr",
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san \
         -out leaf.pem",
    ] {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(folder).args(command.split_whitespace());
        let output = openssl.output().expect("openssl: install it, apt-get install openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
