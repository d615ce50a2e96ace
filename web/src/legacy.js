// Culvert for browsers without fetch, Promise or WebSocket: long-polls by XMLHttpRequest. ES5, and one small file.
//
//   var lobby = culvert.connect("https://example.org").room("lobby", {last: 10});
//   lobby.on("message", function (m) { ... m.data ... });
//   lobby.publish({text: "hello"}, function (error, published) { ... });
(function (root) {
  "use strict";

  var nonce = Math.random().toString(36).slice(2, 8);
  var count = 0;

  function backoff(attempt) {
    return 500 + Math.random() * (Math.min(20000, 500 * Math.pow(2, Math.min(attempt, 9))) - 500);
  }

  /** Sends a request, POST or GET; done is called once, with an error or the JSON of the answer. */
  function ask(method, url, body, timeout, done) {
    var xhr = new XMLHttpRequest();
    var timer = setTimeout(function () {
      finish({ code: "timeout", message: "no answer in time" });
      xhr.abort();
    }, timeout);
    function finish(error, answer) {
      var f = done;
      done = null;
      clearTimeout(timer);
      if (f) f(error, answer);
    }
    xhr.onreadystatechange = function () {
      if (xhr.readyState != 4) return;
      var status = xhr.status;
      var answer = null;
      var retry = 0;
      try {
        answer = JSON.parse(xhr.responseText);
      } catch (e) {}
      try {
        retry = xhr.getResponseHeader("Retry-After");
        retry = +retry * 1000 || (retry && Date.parse(retry) - new Date());
      } catch (e) {}
      if (status >= 200 && status < 300 && answer && typeof answer == "object") return finish(null, answer);
      // What gateways say looks alike, but for the mark.
      var told = answer && answer.protocol == 1 && answer.error;
      var error = told ? answer.error : { code: status ? "bad_answer" : "network", message: "HTTP status " + status };
      // Only what is Culvert's own word is final.
      error.fatal = told && status < 500 && status != 408 && status != 409 && status != 429;
      // Nobody is believed who wants to be left alone for days, and a timer of more than 25 would fire at once.
      error.retry = Math.min(Math.max(error.retry_after_ms || retry, 0) || 0, 300000);
      finish(error);
    };
    xhr.open(method, url + (url.indexOf("?") < 0 ? "?" : "&") + "n=" + nonce + ++count, true);
    if (body != null) xhr.setRequestHeader("Content-Type", "text/plain;charset=UTF-8");
    xhr.send(body);
  }

  /** Calls what the page gave. A fault of the page stays one, and does not stop what comes behind it. */
  function tell(f, a, b) {
    try {
      f(a, b);
    } catch (e) {
      setTimeout(function () {
        throw e;
      }, 0);
    }
  }

  function Room(base, name, options) {
    var listeners = {};
    var queue = [];
    var sending = false;
    var closed = false;
    var failures = 0;
    var attempts = 0;
    var wait = 0;
    var cursor = options.cursor;
    var path = base + "/rooms/" + encodeURIComponent(name);

    function emit(type, event) {
      var list = (listeners[type] || []).slice();
      for (var i = 0; i < list.length; i++) tell(list[i], event);
    }

    function poll() {
      if (closed) return;
      var query = "/poll?wait=" + wait;
      if (cursor != null) query += "&cursor=" + encodeURIComponent(cursor);
      else if (options.last != null) query += "&last=" + options.last;
      else if (options.from) query += "&from=" + options.from;
      var began = +new Date();
      ask("GET", path + query, null, wait * 1000 + 10000, function (error, answer) {
        if (closed) return;
        if (!error && (answer.protocol != 1 || !answer.messages || typeof answer.cursor != "string"))
          error = { code: "bad_answer", message: "an answer that is not Culvert's" };
        if (error) {
          emit("error", error);
          if (error.fatal) closed = true;
          else {
            // What caps the time of an answer gets shorter waits.
            if (wait > 2 && !error.retry) wait = Math.floor(wait / 2);
            setTimeout(poll, Math.max(backoff(++failures), error.retry || 0));
          }
          return;
        }
        var fresh = answer.messages.length > 0;
        // An answer without anything new that comes early is a path that repeats or mangles answers.
        failures = fresh || !wait || +new Date() - began > 1000 ? 0 : failures + 1;
        if (cursor === answer.cursor && fresh) failures++;
        cursor = answer.cursor;
        wait = wait ? Math.min(20, wait * 2) : 5;
        setTimeout(poll, failures > 1 ? backoff(failures) : fresh ? 50 : 0);
        for (var i = 0; i < answer.messages.length; i++) emit(answer.messages[i].type, answer.messages[i]);
      });
    }

    function send() {
      if (sending || !queue.length) return;
      sending = true;
      var item = queue[0];
      ask("POST", path + "?key=" + encodeURIComponent(item.key), item.body, 10000, function (error, answer) {
        sending = false;
        if (!error && !(answer.id && answer.offset)) error = { code: "bad_answer", message: "an answer that is not Culvert's" };
        if (error && !error.fatal) {
          setTimeout(send, Math.max(backoff(++attempts), error.retry || 0));
          return;
        }
        attempts = 0;
        queue.shift();
        send();
        if (item.done) tell(item.done, error, answer);
      });
    }

    /** Listens to "message", "gap" or "error". */
    this.on = function (type, listener) {
      (listeners[type] = listeners[type] || []).push(listener);
    };
    /** Publishes, in order, tried until it is answered; done(error, published). False: 1000 wait already, or data is not JSON. */
    this.publish = function (data, done, key) {
      var body;
      try {
        body = JSON.stringify(data);
      } catch (e) {}
      if (queue.length >= 1000 || body === undefined) return false;
      queue.push({ body: body, key: key || nonce + "-" + Math.random().toString(36).slice(2) + ++count, done: done });
      send();
      return true;
    };
    /** The place after the last message, to go on from later. */
    this.cursor = function () {
      return cursor;
    };
    this.close = function () {
      closed = true;
    };
    setTimeout(poll, 0);
  }

  root.culvert = {
    connect: function (url) {
      return {
        room: function (name, options) {
          return new Room(url.replace(/\/+$/, ""), name, options || {});
        },
      };
    },
  };
})(typeof window != "undefined" ? window : this);
