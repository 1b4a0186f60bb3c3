/* configs.c: the JSON files of a checkpoint: what the published ones say, as far as it is read. */
#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"
#include "flow/synth/synth.h"

static const char model_index[] = "{\n"
                                  "  \"_class_name\": \"WanPipeline\",\n"
                                  "  \"_diffusers_version\": \"0.33.0\",\n"
                                  "  \"scheduler\": [\"diffusers\", \"UniPCMultistepScheduler\"],\n"
                                  "  \"text_encoder\": [\"transformers\", \"UMT5EncoderModel\"],\n"
                                  "  \"tokenizer\": [\"transformers\", \"T5TokenizerFast\"],\n"
                                  "  \"transformer\": [\"diffusers\", \"WanTransformer3DModel\"],\n"
                                  "  \"vae\": [\"diffusers\", \"AutoencoderKLWan\"]\n"
                                  "}\n";

static const char scheduler[] = "{\n"
                                "  \"_class_name\": \"UniPCMultistepScheduler\",\n"
                                "  \"_diffusers_version\": \"0.33.0\",\n"
                                "  \"beta_end\": 0.02,\n"
                                "  \"beta_schedule\": \"linear\",\n"
                                "  \"beta_start\": 0.0001,\n"
                                "  \"disable_corrector\": [],\n"
                                "  \"dynamic_thresholding_ratio\": 0.995,\n"
                                "  \"final_sigmas_type\": \"zero\",\n"
                                "  \"flow_shift\": 3.0,\n"
                                "  \"lower_order_final\": true,\n"
                                "  \"num_train_timesteps\": 1000,\n"
                                "  \"predict_x0\": true,\n"
                                "  \"prediction_type\": \"flow_prediction\",\n"
                                "  \"rescale_betas_zero_snr\": false,\n"
                                "  \"sample_max_value\": 1.0,\n"
                                "  \"solver_order\": 2,\n"
                                "  \"solver_p\": null,\n"
                                "  \"solver_type\": \"bh2\",\n"
                                "  \"steps_offset\": 0,\n"
                                "  \"thresholding\": false,\n"
                                "  \"timestep_spacing\": \"linspace\",\n"
                                "  \"trained_betas\": null,\n"
                                "  \"use_beta_sigmas\": false,\n"
                                "  \"use_exponential_sigmas\": false,\n"
                                "  \"use_flow_sigmas\": true,\n"
                                "  \"use_karras_sigmas\": false\n"
                                "}\n";

static const char transformer[] = "{\n"
                                  "  \"_class_name\": \"WanTransformer3DModel\",\n"
                                  "  \"_diffusers_version\": \"0.33.0\",\n"
                                  "  \"added_kv_proj_dim\": null,\n"
                                  "  \"attention_head_dim\": %lld,\n"
                                  "  \"cross_attn_norm\": true,\n"
                                  "  \"eps\": 1e-06,\n"
                                  "  \"ffn_dim\": %lld,\n"
                                  "  \"freq_dim\": 256,\n"
                                  "  \"image_dim\": null,\n"
                                  "  \"in_channels\": 16,\n"
                                  "  \"num_attention_heads\": %lld,\n"
                                  "  \"num_layers\": %lld,\n"
                                  "  \"out_channels\": 16,\n"
                                  "  \"patch_size\": [1, 2, 2],\n"
                                  "  \"qk_norm\": \"rms_norm_across_heads\",\n"
                                  "  \"rope_max_seq_len\": 1024,\n"
                                  "  \"text_dim\": %lld\n"
                                  "}\n";

static const char text_encoder[] = "{\n"
                                   "  \"architectures\": [\"UMT5EncoderModel\"],\n"
                                   "  \"classifier_dropout\": 0.0,\n"
                                   "  \"d_ff\": %lld,\n"
                                   "  \"d_kv\": %lld,\n"
                                   "  \"d_model\": %lld,\n"
                                   "  \"decoder_start_token_id\": 0,\n"
                                   "  \"dense_act_fn\": \"gelu_new\",\n"
                                   "  \"dropout_rate\": 0.1,\n"
                                   "  \"eos_token_id\": 1,\n"
                                   "  \"feed_forward_proj\": \"gated-gelu\",\n"
                                   "  \"initializer_factor\": 1.0,\n"
                                   "  \"is_encoder_decoder\": true,\n"
                                   "  \"is_gated_act\": true,\n"
                                   "  \"layer_norm_epsilon\": 1e-06,\n"
                                   "  \"model_type\": \"umt5\",\n"
                                   "  \"num_decoder_layers\": %lld,\n"
                                   "  \"num_heads\": %lld,\n"
                                   "  \"num_layers\": %lld,\n"
                                   "  \"output_past\": true,\n"
                                   "  \"pad_token_id\": 0,\n"
                                   "  \"relative_attention_max_distance\": 128,\n"
                                   "  \"relative_attention_num_buckets\": 32,\n"
                                   "  \"scalable_attention\": true,\n"
                                   "  \"tie_word_embeddings\": false,\n"
                                   "  \"tokenizer_class\": \"T5Tokenizer\",\n"
                                   "  \"torch_dtype\": \"bfloat16\",\n"
                                   "  \"use_cache\": true,\n"
                                   "  \"vocab_size\": %lld\n"
                                   "}\n";

static const char vae[] =
    "{\n"
    "  \"_class_name\": \"AutoencoderKLWan\",\n"
    "  \"_diffusers_version\": \"0.33.0\",\n"
    "  \"attn_scales\": [],\n"
    "  \"base_dim\": %lld,\n"
    "  \"dim_mult\": [1, 2, 4, 4],\n"
    "  \"dropout\": 0.0,\n"
    "  \"latents_mean\": [-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,\n"
    "    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921],\n"
    "  \"latents_std\": [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,\n"
    "    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.916],\n"
    "  \"num_res_blocks\": %lld,\n"
    "  \"temperal_downsample\": [false, true, true],\n"
    "  \"z_dim\": 16\n"
    "}\n";

static lvsa_status write_filled(lv_synth_job *job, const char *name, const char *format, ...)
    LV_PRINTF(3, 4);
static lvsa_status write_filled(lv_synth_job *job, const char *name, const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return lv_synth_write_text(job, name, text, (size_t)length);
}

lvsa_status lv_synth_write_configs(lv_synth_job *job)
{
    const lv_synth_sizes *s = job->sizes;
    LV_TRY(lv_synth_write_text(job, "model_index.json", model_index, sizeof model_index - 1));
    LV_TRY(lv_synth_write_text(job, "scheduler/scheduler_config.json", scheduler,
                               sizeof scheduler - 1));
    LV_TRY(write_filled(job, "transformer/config.json", transformer, (long long)s->head_dim,
                        (long long)s->ff, (long long)s->heads, (long long)s->layers,
                        (long long)s->text_width));
    LV_TRY(write_filled(job, "text_encoder/config.json", text_encoder, (long long)s->text_ff,
                        (long long)s->text_head_dim, (long long)s->text_width,
                        (long long)s->text_layers, (long long)s->text_heads,
                        (long long)s->text_layers, (long long)s->vocabulary));
    return write_filled(job, "vae/config.json", vae, (long long)s->vae_base,
                        (long long)s->vae_blocks);
}
