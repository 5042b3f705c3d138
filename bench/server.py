"""nginx as a read-only S3 on 127.0.0.1, over HTTP and over TLS with a CA of our own.

It answers GET, ranged GET and HEAD of objects with ETag, Last-Modified, x-amz-checksum-crc64nvme and
x-amz-server-side-encryption, and ListObjectsV2 from pages written beforehand. It checks no signature, and of these
prefixes it knows neither start-after nor delimiters: it is here to be fast, not to be right. Correctness is the tests'
business. With Debian's libnginx-mod-http-lua it can wait before it answers, and it lists `many/`, a tree of any size
that is reckoned and not stored, from any key on.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import resource
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from objects import BUCKET, MODIFIED, MODIFIED_TEXT, Bucket

#: Debian's libnginx-mod-http-headers-more-filter. nginx compares If-Match with its own ETag of time and size, so MD5
#: ETags can be had only where the module takes If-Match away first.
LUA = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")
HEADERS_MORE = Path("/usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so")

#: what one worker may have open; half of it are files that are kept open, the rest connections
DESCRIPTORS = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])

CONFIGURATION = """\
{modules}
daemon off;
worker_processes 2;
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{ worker_connections 8192; multi_accept on; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_requests 1000000;
  keepalive_timeout 75s;
  open_file_cache max={kept} inactive=1h;
  open_file_cache_valid 1h;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  types {{}}
  default_type binary/octet-stream;
  map_hash_max_size 1048576;
  map_hash_bucket_size 256;
  include {folder}/answers.conf;

  # S3 sends the checksum of an object with whole answers only, and only when asked
  map "$http_x_amz_checksum_mode:$http_range" $sent_crc64nvme {{
    "~*^ENABLED:$" $object_crc64nvme;
  }}
  map $sent_crc64nvme $sent_checksum_type {{
    "" "";
    default FULL_OBJECT;
  }}
  map $args $list_prefix {{
    "~(?:^|&)prefix=(?<prefix>[a-z0-9]+)(?:%2[Ff]|/)?(?:&|$)" $prefix;
    default none;
  }}
  map $args $list_page {{
    "~(?:^|&)continuation-token=(?<token>[0-9]+)(?:&|$)" $token;
    "~(?:^|&)start-after=." refused;
    default 0;
  }}

  map $list_prefix $list_at {{
    many /many;
    default /lists/$list_prefix-$list_page.xml;
  }}

  server {{
    listen 127.0.0.1:{http_port} backlog=4096;
    listen 127.0.0.1:{tls_port} ssl backlog=4096;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_session_cache shared:tls:10m;
    # what S3 chooses, whatever a client would rather have (CloudTrail's tlsDetails tell)
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_prefer_server_ciphers on;
    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384;
    root {root};

    location /{bucket}/ {{
      {wait}
      {etag}
      add_header x-amz-request-id BENCH000000000000;
      add_header x-amz-server-side-encryption AES256;
      add_header x-amz-checksum-crc64nvme $sent_crc64nvme;
      add_header x-amz-checksum-type $sent_checksum_type;
    }}
    location = /{bucket} {{ rewrite ^ $list_at last; }}
    location = /{bucket}/ {{ rewrite ^ $list_at last; }}
    {many}
    location /lists/ {{
      internal;
      etag off;
      default_type application/xml;
      add_header x-amz-request-id BENCH000000000000;
      add_header x-amz-bucket-region us-east-1;
    }}
  }}
}}
"""


#: pages of `many/`: object number n is many/<n / 100>/<n>.bin, of 0 bytes
MANY = """\
    location = /many {{
      internal;
      default_type application/xml;
      add_header x-amz-bucket-region us-east-1;
      content_by_lua_file {folder}/many.lua;
    }}
"""

MANY_LUA = """\
local args = ngx.req.get_uri_args()
local count = {count}
local function key(n) return string.format("many/%05d/%07d.bin", math.floor(n / 100), n) end

local from = 0
if args["continuation-token"] then
  from = tonumber(args["continuation-token"])
elseif args["start-after"] then
  local low, high = 0, count
  while low < high do
    local middle = math.floor((low + high) / 2)
    if key(middle) <= args["start-after"] then low = middle + 1 else high = middle end
  end
  from = low
end
local upto = math.min(from + 1000, count)

local out = {{
  '<?xml version="1.0" encoding="UTF-8"?>', "\\n",
  '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
  "<Name>{bucket}</Name><Prefix>many/</Prefix><MaxKeys>1000</MaxKeys>",
  "<KeyCount>", upto - from, "</KeyCount><IsTruncated>", tostring(upto < count), "</IsTruncated>",
}}
if upto < count then
  out[#out + 1] = "<NextContinuationToken>" .. string.format("%d", upto) .. "</NextContinuationToken>"
end
for n = from, upto - 1 do
  out[#out + 1] = "<Contents><Key>"
  out[#out + 1] = key(n)
  out[#out + 1] = "</Key><LastModified>{modified}</LastModified>"
  out[#out + 1] = "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag>"
  out[#out + 1] = "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
  out[#out + 1] = "<Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>"
end
out[#out + 1] = "</ListBucketResult>"
ngx.sleep({page})
ngx.print(out)
"""


def make_mirror(folder: Path, count: int) -> None:
    """The tree of `many/` as another tool would have left it."""
    for number in range(count):
        path = folder / many_key(number).removeprefix("many/")
        if number % 100 == 0:
            path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (MODIFIED, MODIFIED))


def many_key(number: int) -> str:
    """The key of an object of `many/`."""
    return f"many/{number // 100:05}/{number:07}.bin"


def md5_etags() -> bool:
    """Whether nginx can serve MD5 ETags on this machine."""
    return HEADERS_MORE.exists()


class Nginx:
    """A running nginx: `with Nginx(folder, bucket) as site:`. Raises RuntimeError when it does not come up."""

    def __init__(self, folder: Path, bucket: Bucket, *, many: int, page: float, first_byte: float) -> None:
        if (many or first_byte) and not LUA.exists():
            raise RuntimeError("nginx cannot wait (Debian: apt-get install libnginx-mod-http-lua)")
        binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if binary is None:
            raise RuntimeError("nginx is not installed (Debian: apt-get install nginx-light)")
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        http_port, tls_port = free_ports(2)
        self.http_url = f"http://127.0.0.1:{http_port}"
        self.tls_url = f"https://localhost:{tls_port}"
        self._ports = (http_port, tls_port)
        make_certificates(folder)
        (folder / "answers.conf").write_text(bucket.answers())
        own_etag = "etag off; more_clear_input_headers If-Match; add_header ETag $object_etag;"
        (folder / "many.lua").write_text(MANY_LUA.format(count=many, page=page, modified=MODIFIED_TEXT, bucket=BUCKET))
        (folder / "nginx.conf").write_text(
            CONFIGURATION.format(
                folder=folder,
                descriptors=DESCRIPTORS,
                kept=DESCRIPTORS // 2,
                root=bucket.files.parent,
                bucket=BUCKET,
                http_port=http_port,
                tls_port=tls_port,
                modules=modules(bucket.md5_etags),
                wait=f"access_by_lua_block {{ ngx.sleep({first_byte}) }}" if first_byte else "",
                many=MANY.format(folder=folder) if many else "",
                etag=own_etag if bucket.md5_etags else "etag on;",
                user="user root;" if os.geteuid() == 0 else "",
            )
        )
        self._command = [binary, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        for port in self._ports:
            self._wait_for(port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def _wait_for(self, port: int) -> None:
        assert self._process is not None
        for _ in range(200):
            if self._process.poll() is not None:
                raise RuntimeError(f"nginx ended: {(self.folder / 'error.log').read_text()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"nginx does not answer on port {port}")


def modules(md5_etags: bool) -> str:
    """What nginx loads beside itself, where Debian's packages are there."""
    ndk = LUA.with_name("ndk_http_module.so")
    wanted = ([HEADERS_MORE] if md5_etags else []) + ([ndk, LUA] if LUA.exists() else [])
    return "\n".join(f"load_module {path};" for path in wanted)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on at present."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def make_certificates(folder: Path) -> None:
    """`ca.pem`, and `server.pem` with `server.key` for localhost, signed by it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "s3pull bench CA")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = (
        certificate("s3pull bench CA", ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(ca=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    server = (
        certificate("localhost", server_key)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(ca=False), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(server.public_bytes(pem))
    (folder / "server.key").write_bytes(
        server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def key_usage(*, ca: bool):
    """The KeyUsage extension of a CA, or of a server."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
