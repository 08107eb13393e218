"""Which steps run eagerly by design: the one list of them, by the names of scenarios (* stands for any text).

All others must be captured: replayed, or recorded again after a change. That no step gives another result
than eager is judged of all of them alike (`judge.py`).
"""

import fnmatch

# why: names of scenarios
EAGER: dict[str, str] = {
    "gradients of the result can still be computed": """
calls/model_passed calls/new_modules_in_each_call in/training_and_evaluation_in_turn
kept/gradient_assigned_in_the_step kept/hook_registered_in_the_step
kept/target_network_assigned_in_the_step library/decorated_method_of_a_module
models/python_list_of_layers models/rebound_for_*
""",
    "code to which no name leads, as a hook's": """
denied/class_of_a_module models/full_backward_* fit/full_backward_hook
places/module_getattr-*
""",
    "keeps a result of its own": """
configs/forward_cache_cleared kept/buffer_assigned kept/copy_* kept/hidden_state
kept/other_result-attribute kept/other_result-class_attribute kept/other_result-dict
kept/other_result-function kept/other_result-global kept/other_result-inner_attribute
kept/other_result-lambda kept/other_result-list kept/other_result-list_item kept/other_result-object
kept/other_result-tuple kept/random-*
""",
    "reads a value of a Tensor": """
calls/address_of_arguments_decides effects/format_of_a_mean_decides effects/left-*
effects/loss_value_decides effects/text_of_a_parameter_decides effects/text_of_a_value_decides
effects/value_decides in/fixed_after_a_refusal kept/value_read_from_a_change_on kept/other_result-numpy
kept/result-numpy optimizers/lbfgs
""",
    "changes what it reads, or does not do the same each time": """
effects/array_changed effects/attribute_grows effects/call_counts effects/cell_counts
effects/class_attribute_counts effects/counter_counts effects/default_counts effects/deque_rotates
effects/descriptor_counts effects/dict_grows effects/every_* effects/function_attribute_counts
effects/getitem_counts effects/global_counts effects/len_counts effects/list_append effects/list_pop
effects/own_* effects/property_counts effects/set_grows fit/own_model_counts kept/argument-lambda
kept/gradient-* kept/list_of_losses_cut_by_the_caller kept/module_* kept/result-attribute
kept/result-class_attribute kept/result-dict kept/result-function kept/result-global
kept/result-inner_attribute kept/result-lambda kept/result-list kept/result-list_item kept/result-object
kept/result-tuple kept/result_* kept/view_* models/forward_hook_counts models/forward_pre_hook_counts
models/full_backward_hook_counts models/post_accumulate_hook_counts models/tensor_hook_counts
""",
    "returns what a replay would not make again": """
calls/argument_returned calls/result_namespace calls/result_of_numpy calls/result_set_of_numbers
calls/view_of_an_argument_returned
""",
    "kinds of values that are not listed, or cannot be compared": """
denied/arguments_of_an_exception denied/attribute_of_an_exception denied/constants_of_code
denied/defaults_of_a_function denied/float_of_an_array denied/get_of_a_function denied/getitem_*
functions/own_built_in_names functions/types_of_hints
denied/getter_made_inside denied/kept_super denied/length_of_a_list denied/method_caller
denied/thread_local_subclass denied/version_of_a_parameter effects/cache effects/called_*
effects/count effects/cycle
effects/decimal_* effects/element_* effects/enumerate_object effects/for_* effects/generator
effects/iterator_* effects/map_object
effects/module_found_by_a_computed_name effects/next_* effects/numpy_generator
effects/numpy_generator_normal effects/numpy_random effects/sent_generator effects/state_*
effects/weak_proxy effects/zip_object equal/decimal_* functions/cached_*
functions/abstract_class_that_decides functions/protocol_by_another_name
functions/single_dispatch_registered kept/argument-weak kept/other_result-weak kept/result-weak
looked_up/of_* passed/object_ctypes_* passed/object_partial_of_a_setting passed/object_long_list
passed/object_memoryview
passed/object_method_caller passed/object_numpy_large passed/object_numpy_objects
passed/object_numpy_row passed/object_protocol places/attrgetter-* places/cached_* places/getattribute_*
places/thread_* places/weak_* removed/getattribute_put_on_the_class
""",
    "calls what is not listed: files, threads, random numbers, settings of NumPy, JSON": """
configs/config_* configs/environment_* denied/rate_by_repr denied/rate_by_text effects/file
effects/file_* effects/garbage_collector_flag effects/json_* effects/logger_level_changed
effects/module_imported_by_a_computed_name effects/module_replaced_that_was_imported_by_a_computed_name
effects/numpy_errors effects/numpy_print_options effects/queue effects/random effects/random_choice
effects/random_gauss effects/random_object effects/recursion_limit effects/reference_count
effects/seeded_inside_the_step effects/text_of_an_array effects/text_stream effects/thread_name
effects/weak_references_counted effects/working_directory kept/layer_made_at_the_first_call
library/seed_in_force models/rebound_in_* optimizers/schedule_inside_the_step passed/json
passed/object_module_text places/context_variable-* places/environment_* places/evaluated_*
places/executed_* places/globals_*
""",
    "arguments that are changed, share memory or are computed with by NumPy": """
calls/arrays_reversed calls/list_* calls/numpy_or_tensor_decides
calls/one_of_two_that_share_memory_written_by_the_step
""",
    "others of the same code have used up the recordings that need not be earned": """
library/decorated_method_of_a_replaced_instance
""",
    "other reasons": """
calls/argument_that_aliases_* calls/argument_written_by_the_step calls/big_endian_decides
effects/first_time_only effects/random_integers_of_the_library equal/long_list-argument
kept/argument-attribute kept/argument-class_attribute kept/argument-dict kept/argument-function
kept/argument-global kept/argument-inner_attribute kept/argument-list kept/argument-list_item
kept/argument-object kept/argument-tuple library/compiled_model_in_training_mode library/grad_is_none
models/array_index-*
""",
}


def runs_eagerly(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for text in EAGER.values() for pattern in text.split())
