"""Addresses and URLs that lead where no request may go (reliability.md S5), and their neighbours that are fine.

Used by ``unit/test_platform_map.py`` and ``contract/test_ssrf.py``.
"""

# What smokescreen and Svix deny, in content; and both neighbours of the ranges' edges.
DENIED_ADDRESSES = """
    0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.255
    168.63.129.16 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.0 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1
    192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.0 192.168.255.255 192.175.48.1 198.18.0.0 198.19.255.255 198.51.100.1
    203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.0 255.255.255.255 :: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1
    ::ffff:8.8.8.8 ::ffff:169.254.169.254 ::ffff:0:8.8.8.8 64:ff9b::7f00:1 64:ff9b::8.8.8.8 64:ff9b:1::1 100::1 1fff:ffff::1
    2001::1 2001:0:53aa:64c:0:7a2b:81:1 2001:2::1 2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:db8::1 2002:7f00:1::
    2002:a9fe:a9fe::1 2620:4f:8000::1 3fff::1 3fff:fff:ffff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fdff::1 fe80::1
    fe80::1%eth0 2606:4700::1111%eth0 febf::1 fec0::1 ff00::1 ff02::1 ff0e::1
    100.100.100.100 169.254.169.123 169.254.169.250 192.0.0.170 198.18.0.1 ::ffff:10.0.0.1 64:ff9b::a9fe:a9fe 2002:a00:1::
    2001:0:a9fe:a9fe:: fe80::a9fe:a9fe
""".split()  # noqa: SIM905 - one to a line would fill two pages
PUBLIC_ADDRESSES = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 169.253.255.255 169.255.0.0
    172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 2001:200::1
    2001:4860:4860::8888 2003::1 2606:4700:4700::1111 2a00:1450::1 3ffe::1
""".split()  # noqa: SIM905 - one to a line would fill two pages

#: One canonical spelling of a public https host is accepted; none of these is one.
DISGUISED_URLS = [
    "", "api.larkchat.example", "//api.larkchat.example/", "ftp://api.larkchat.example/", "file:///etc/passwd", "gopher://a.example/",
    "http://api.larkchat.example/", "http://8.8.8.8/", "https://", "https:///path", "https://larkchat/", "https://localhost/",
    "http://localhost:8000/", "https://user@api.larkchat.example/", "https://user:pass@api.larkchat.example/", "https://@a.example/",
    "https://api.larkchat.example:80/", "https://api.larkchat.example:22/", "https://api.larkchat.example:6379/",
    "https://api.larkchat.example:0/", "https://api.larkchat.example:99999/", "https://api.larkchat.example:x/",
    "https://api.larkchat.example:/", "https://api.larkchat.example:443:443/", "https://api.larkchat.example/?a=1",
    "https://api.larkchat.example/?", "https://api.larkchat.example/#a", "https://api.larkchat.example/a b",
    "https://api.larkchat.example/a\r\nHost: x", "https://api.larkchat.example/a\\b", "https://api.larkchat.example\\@127.0.0.1/",
    "https://api.larkchat.example/%2e%2e/", "https://api.larkchat.example/../admin", "https://api.larkchat.example./",
    "https://-a.example/", "https://a-.example/", "https://a..example/", "https://.example/", "https://a_b.example/",
    "https://xn--p1ai.рф/", "https://ⓔxample.com/", "https://\uff11\uff12\uff17.0.0.1/", "https://127。0。0。1/", "https://a.example%00/",
    "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/", "https://127.0.0.1./",
    "https://0/", "https://a.0x7f/", "https://a.1/", "https://127.0.0.01/", "https://1.2.3.4.5/", "https://256.1.1.1/",
    "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[fe80::1%25eth0]/", "https://[fe80::1]/", "https://[::1/",
    "https://::1/", "https://[v1.a]/", "https://127.0.0.1/", "https://169.254.169.254/latest/", "https://" + "a" * 64 + ".example/",
    "https://a.example/" + "a" * 600,
    # Addresses in other spellings: decimal, hex, octal, short, mixed, long, with zeros, with dots of other scripts.
    "https://3232235521/", "https://0xa9fea9fe/", "https://0xA9.0xFE.0xA9.0xFE/", "https://0251.0376.0251.0376/", "https://169.254.43518/",
    "https://169.16689662/", "https://10.1/", "https://192.168.257/", "https://0x0a000001/", "https://012.0.0.1/",
    "https://00000012.0.0.1/",
    "https://127.000.000.001/", "https://0x7f.0.0.0x1/", "https://127.0.0x1/", "https://4294967295/", "https://4294967296/", "https://-1/",
    "https://1e9/", "https://\u2460\u2461\u2466.0.0.1/", "https://\u0661\u0662\u0667.0.0.1/",
    "https://127.0.0.1.:443/",
    # IPv6: mapped, compatible, NAT64, 6to4, Teredo, unique local, link-local, zones, metadata, odd brackets.
    "https://[::]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::127.0.0.1]/", "https://[::ffff:7f00:1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[0000:0000:0000:0000:0000:ffff:a9fe:a9fe]/", "https://[64:ff9b::169.254.169.254]/", "https://[64:ff9b:1::a9fe:a9fe]/",
    "https://[2002:a9fe:a9fe::]/", "https://[2001:0:a9fe:a9fe::]/", "https://[fd00:ec2::254]/", "https://[fc00::1]/", "https://[fec0::1]/",
    "https://[ff02::1]/", "https://[fe80::1%eth0]/", "https://[fe80::1%251]/", "https://[2606:4700::1111%25eth0]/",
    "https://[2606:4700::1111%1]/",
    "https://[127.0.0.1]/", "https://[]/", "https://[:]/", "https://[::1]]/", "https://[[::1]]/", "https://x[::1]/", "https://[::1]x/",
    "https://[::1].a.example/",
    # Who comes before an @, and what looks like one.
    "https://api.larkchat.example@127.0.0.1/", "https://api.larkchat.example:443@10.0.0.1/", "https://%40127.0.0.1/",
    "https://a.example%40127.0.0.1/",
    "https://:@a.example/", "https://a.example&@10.0.0.1/", "https://10.0.0.1\\@a.example/", "https:\\\\10.0.0.1\\", "https:/10.0.0.1/",
    "https:10.0.0.1",
    "https:///10.0.0.1/", "https:////10.0.0.1/", "https://a.example#@10.0.0.1/", "https://a.example?@10.0.0.1/",
    "https://a.example;@10.0.0.1/",
    # Names: look-alikes of other scripts, dots, underscores, lengths, controls, this machine's own.
    "https://\u0430pi.larkchat.example/", "https://api.larkchat\u3002example/", "https://api.larkchat\uff0eexample/",
    "https://api.larkchat\u2024example/",
    "https://l\u043ecalhost/", "https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/", "https://\u212aube.example/",
    "https://a\u00ad.example/", "https://a\u200b.example/",
    "https://LOCALHOST/", "https://localhost./", "https://localhost:443/", "https://localhost.localdomain./", "https://a.example../",
    "https://a.example.:443/",
    "https://a.example,b.example/", "https://a.example b.example/", "https://a.example\t/", "https://a.example\n.b.example/",
    "https://\ta.example/", " https://a.example/",
    "https://a.example/\0", "https://a.example\x7f/", "https://*.example/", "https://a.example%2f/", "https://a.example%3a22/",
    "https://$HOST.example/",
    "https://" + "a." * 127 + "example/", "https://example/", "https://metadata/", "https://com/",
    # Schemes and ports.
    "HTTP://a.example/", "ws://a.example/", "wss://a.example/", "ldap://a.example/", "dict://a.example:11211/", "jar:https://a.example!/",
    "data:text/plain,x",
    "javascript:0", "unix:///var/run/docker.sock", "https+unix://a/", "https://a.example:21/", "https://a.example:25/",
    "https://a.example:2375/", "https://a.example:3306/",
    "https://a.example:5432/", "https://a.example:8080/", "https://a.example:9200/", "https://a.example:65536/", "https://a.example:-1/",
    "https://a.example:4 43/",
    "https://a.example:\uff14\uff14\uff13/", "https://a.example:443x/",
    # Paths that could be read in two ways.
    "https://a.example/./b", "https://a.example/b/..", "https://a.example/%252e", "https://a.example/b;c", "https://a.example/b,c",
    "https://a.example/b@c",
    "https://a.example/\u2025/", "https://a.example/b%0d%0aX: y", "https://a.example/b\r\n\r\nGET / HTTP/1.1",
]  # fmt: skip

#: What a resolver can say beside which nothing good counts any more.
DENIED_ANSWERS = [
    *([each] for each in DENIED_ADDRESSES),
    ["8.8.8.8", "10.0.0.1"],
    ["10.0.0.1", "8.8.8.8"],
    ["8.8.8.8", "1.1.1.1", "169.254.169.254"],
    ["2606:4700:4700::1111", "::1"],
    ["8.8.8.8", "fd00:ec2::254"],
    ["8.8.8.8", "::ffff:10.0.0.1"],
    [],
]
